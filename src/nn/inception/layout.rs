//! Which convolutions the network has, where they stand, and what the two published layouts call them. Knows no tensors.

/// A convolution with batch norm and relu.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// As pytorch-fid and torchvision name it: `Mixed_5b.branch1x1`.
    pub name: String,
    /// As the TensorFlow graph, and the TorchScript files made from it, name it: `mixed.conv`.
    pub graph: String,
    pub inputs: i64,
    pub outputs: i64,
    /// Rows and columns.
    pub kernel: [i64; 2],
    pub stride: i64,
    /// Rows above and below, columns left and right.
    pub padding: [i64; 2],
}

/// What a branch does to its input first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pool {
    /// Mean of 3x3 at stride 1, of the pixels that are there: padding is not counted.
    Mean,
    /// Maximum of 3x3 at stride 1, padded.
    Max,
    /// Maximum of 3x3 at stride 2, not padded.
    Halve,
}

/// A way through a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch<U> {
    pub pool: Option<Pool>,
    /// One after the other.
    pub units: Vec<U>,
    /// Then these side by side, their outputs stacked; usually none.
    pub fork: Vec<U>,
}

/// Branches side by side, their outputs stacked in this order.
pub type Block<U> = Vec<Branch<U>>;

/// The whole network, `[batch, 3, 299, 299]` to `[batch, 2048, 8, 8]`.
pub fn layout() -> Vec<Block<Unit>> {
    let mut blocks = stem();
    for (name, graph, inputs, pool) in
        [("Mixed_5b", "mixed", 192, 32), ("Mixed_5c", "mixed_1", 256, 64), ("Mixed_5d", "mixed_2", 288, 64)]
    {
        blocks.push(block_35(&Names { name, graph }, inputs, pool));
    }
    blocks.push(block_to_17(&Names { name: "Mixed_6a", graph: "mixed_3" }));
    for (name, graph, width) in [
        ("Mixed_6b", "mixed_4", 128),
        ("Mixed_6c", "mixed_5", 160),
        ("Mixed_6d", "mixed_6", 160),
        ("Mixed_6e", "mixed_7", 192),
    ] {
        blocks.push(block_17(&Names { name, graph }, width));
    }
    blocks.push(block_to_8(&Names { name: "Mixed_7a", graph: "mixed_8" }));
    blocks.push(block_8(&Names { name: "Mixed_7b", graph: "mixed_9" }, 1280, Pool::Mean));
    // The graph of 2015-12-05 takes the maximum here; torchvision's network takes the mean.
    blocks.push(block_8(&Names { name: "Mixed_7c", graph: "mixed_10" }, 2048, Pool::Max));
    blocks
}

fn stem() -> Vec<Block<Unit>> {
    let unit = |name: &str, graph: &str, inputs, outputs, kernel| {
        let names = Names { name: "", graph: "" };
        names.unit(name, graph, inputs, outputs, [kernel; 2])
    };
    let alone = |unit: Unit| vec![after(None, [unit])];
    let pool = || vec![after(Some(Pool::Halve), [])];
    vec![
        alone(unit("Conv2d_1a_3x3", "conv", 3, 32, 3).halving()),
        alone(unit("Conv2d_2a_3x3", "conv_1", 32, 32, 3).unpadded()),
        alone(unit("Conv2d_2b_3x3", "conv_2", 32, 64, 3)),
        pool(),
        alone(unit("Conv2d_3b_1x1", "conv_3", 64, 80, 1)),
        alone(unit("Conv2d_4a_3x3", "conv_4", 80, 192, 3).unpadded()),
        pool(),
    ]
}

fn block_35(of: &Names, inputs: i64, pool: i64) -> Block<Unit> {
    vec![
        after(None, [of.unit("branch1x1", "conv", inputs, 64, [1, 1])]),
        after(
            None,
            [
                of.unit("branch5x5_1", "tower.conv", inputs, 48, [1, 1]),
                of.unit("branch5x5_2", "tower.conv_1", 48, 64, [5, 5]),
            ],
        ),
        after(
            None,
            [
                of.unit("branch3x3dbl_1", "tower_1.conv", inputs, 64, [1, 1]),
                of.unit("branch3x3dbl_2", "tower_1.conv_1", 64, 96, [3, 3]),
                of.unit("branch3x3dbl_3", "tower_1.conv_2", 96, 96, [3, 3]),
            ],
        ),
        after(Some(Pool::Mean), [of.unit("branch_pool", "tower_2.conv", inputs, pool, [1, 1])]),
    ]
}

fn block_to_17(of: &Names) -> Block<Unit> {
    vec![
        after(None, [of.unit("branch3x3", "conv", 288, 384, [3, 3]).halving()]),
        after(
            None,
            [
                of.unit("branch3x3dbl_1", "tower.conv", 288, 64, [1, 1]),
                of.unit("branch3x3dbl_2", "tower.conv_1", 64, 96, [3, 3]),
                of.unit("branch3x3dbl_3", "tower.conv_2", 96, 96, [3, 3]).halving(),
            ],
        ),
        after(Some(Pool::Halve), []),
    ]
}

fn block_17(of: &Names, width: i64) -> Block<Unit> {
    vec![
        after(None, [of.unit("branch1x1", "conv", 768, 192, [1, 1])]),
        after(
            None,
            [
                of.unit("branch7x7_1", "tower.conv", 768, width, [1, 1]),
                of.unit("branch7x7_2", "tower.conv_1", width, width, [1, 7]),
                of.unit("branch7x7_3", "tower.conv_2", width, 192, [7, 1]),
            ],
        ),
        after(
            None,
            [
                of.unit("branch7x7dbl_1", "tower_1.conv", 768, width, [1, 1]),
                of.unit("branch7x7dbl_2", "tower_1.conv_1", width, width, [7, 1]),
                of.unit("branch7x7dbl_3", "tower_1.conv_2", width, width, [1, 7]),
                of.unit("branch7x7dbl_4", "tower_1.conv_3", width, width, [7, 1]),
                of.unit("branch7x7dbl_5", "tower_1.conv_4", width, 192, [1, 7]),
            ],
        ),
        after(Some(Pool::Mean), [of.unit("branch_pool", "tower_2.conv", 768, 192, [1, 1])]),
    ]
}

fn block_to_8(of: &Names) -> Block<Unit> {
    vec![
        after(
            None,
            [
                of.unit("branch3x3_1", "tower.conv", 768, 192, [1, 1]),
                of.unit("branch3x3_2", "tower.conv_1", 192, 320, [3, 3]).halving(),
            ],
        ),
        after(
            None,
            [
                of.unit("branch7x7x3_1", "tower_1.conv", 768, 192, [1, 1]),
                of.unit("branch7x7x3_2", "tower_1.conv_1", 192, 192, [1, 7]),
                of.unit("branch7x7x3_3", "tower_1.conv_2", 192, 192, [7, 1]),
                of.unit("branch7x7x3_4", "tower_1.conv_3", 192, 192, [3, 3]).halving(),
            ],
        ),
        after(Some(Pool::Halve), []),
    ]
}

fn block_8(of: &Names, inputs: i64, pool: Pool) -> Block<Unit> {
    let fork = |name: &str, graph: &str| {
        vec![
            of.unit(&format!("{name}a"), &format!("{graph}_mixed_conv"), 384, 384, [1, 3]),
            of.unit(&format!("{name}b"), &format!("{graph}_mixed_conv_1"), 384, 384, [3, 1]),
        ]
    };
    vec![
        after(None, [of.unit("branch1x1", "conv", inputs, 320, [1, 1])]),
        Branch {
            pool: None,
            units: vec![of.unit("branch3x3_1", "tower_conv", inputs, 384, [1, 1])],
            fork: fork("branch3x3_2", "tower"),
        },
        Branch {
            pool: None,
            units: vec![
                of.unit("branch3x3dbl_1", "tower_1_conv", inputs, 448, [1, 1]),
                of.unit("branch3x3dbl_2", "tower_1_conv_1", 448, 384, [3, 3]),
            ],
            fork: fork("branch3x3dbl_3", "tower_1"),
        },
        after(Some(pool), [of.unit("branch_pool", "tower_2_conv", inputs, 192, [1, 1])]),
    ]
}

fn after<const N: usize>(pool: Option<Pool>, units: [Unit; N]) -> Branch<Unit> {
    Branch { pool, units: units.into(), fork: Vec::new() }
}

/// A block's name in both layouts.
struct Names {
    name: &'static str,
    graph: &'static str,
}

impl Names {
    /// A unit of stride 1 that keeps the size.
    fn unit(&self, name: &str, graph: &str, inputs: i64, outputs: i64, kernel: [i64; 2]) -> Unit {
        let join = |block: &str, part: &str| if block.is_empty() { part.into() } else { format!("{block}.{part}") };
        Unit {
            name: join(self.name, name),
            graph: join(self.graph, graph),
            inputs,
            outputs,
            kernel,
            stride: 1,
            padding: kernel.map(|side| side / 2),
        }
    }
}

impl Unit {
    fn unpadded(self) -> Unit {
        Unit { padding: [0, 0], ..self }
    }

    /// Stride 2 without padding.
    fn halving(self) -> Unit {
        Unit { stride: 2, ..self.unpadded() }
    }
}

/// Every unit of the network.
pub fn units() -> Vec<Unit> {
    layout().into_iter().flatten().flat_map(|branch| branch.units.into_iter().chain(branch.fork)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_94_convolutions_with_names_of_their_own_in_both_layouts() {
        let units = units();
        assert_eq!(units.len(), 94);
        assert_eq!(units.iter().map(|unit| &unit.name).collect::<BTreeSet<_>>().len(), 94);
        assert_eq!(units.iter().map(|unit| &unit.graph).collect::<BTreeSet<_>>().len(), 94);
        let weights: i64 = units.iter().map(|u| u.inputs * u.outputs * u.kernel[0] * u.kernel[1]).sum();
        assert_eq!(weights, 21_751_136, "as many as the published network has");
    }

    #[test]
    fn every_block_takes_what_the_one_before_gives() {
        let mut channels = 3;
        for block in layout() {
            let mut outputs = 0;
            for branch in &block {
                let mut inside = channels;
                for unit in &branch.units {
                    assert_eq!(unit.inputs, inside, "{}", unit.name);
                    inside = unit.outputs;
                }
                for unit in &branch.fork {
                    assert_eq!(unit.inputs, inside, "{}", unit.name);
                }
                outputs += match branch.fork.is_empty() {
                    true => inside,
                    false => branch.fork.iter().map(|unit| unit.outputs).sum(),
                };
            }
            channels = outputs;
        }
        assert_eq!(channels, 2048);
    }
}
