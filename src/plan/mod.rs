//! What must happen: steps, their keys, and what is due. Touches no disk and no tensor.
