//! Draws a small bird dataset in Kaggle layout. Knows only pixels and files.
