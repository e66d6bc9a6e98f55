//! Orders are valid, and hold few results at once on the shapes that programs have.

use proptest::prelude::*;

use super::*;

/// A graph by the dependencies of each task.
type Rows = Vec<Vec<u32>>;

fn edges(rows: &Rows) -> Edges {
    let mut edges = Edges::with_capacity(rows.len(), rows.iter().map(Vec::len).sum());
    for row in rows {
        for target in row {
            edges.add(*target);
        }
        edges.end_row();
    }
    edges
}

fn order(rows: &Rows) -> Vec<u32> {
    depth_first(&edges(rows)).expect("no cycle")
}

/// Results held at most, if the tasks run one by one in this order. A result is held until all that
/// need it have run; that of a sink goes to the caller at once.
fn peak(rows: &Rows, order: &[u32]) -> usize {
    let mut holders = vec![0_usize; rows.len()];
    rows.iter()
        .flatten()
        .for_each(|dependency| holders[*dependency as usize] += 1);
    let mut ran = vec![false; rows.len()];
    let (mut held, mut peak) = (0_usize, 0_usize);
    for &task in order {
        for &dependency in &rows[task as usize] {
            assert!(ran[dependency as usize], "dependencies come first");
        }
        ran[task as usize] = true;
        held += usize::from(holders[task as usize] > 0);
        peak = peak.max(held);
        for &dependency in &rows[task as usize] {
            holders[dependency as usize] -= 1;
            held -= usize::from(holders[dependency as usize] == 0);
        }
    }
    assert!(ran.iter().all(|ran| *ran), "every task has its place");
    assert_eq!(order.len(), rows.len(), "no task has two");
    peak
}

/// Depth first from the sinks, in the order given, with no further thought.
fn naive_depth_first(rows: &Rows) -> Vec<u32> {
    fn visit(rows: &Rows, task: u32, seen: &mut [bool], order: &mut Vec<u32>) {
        if std::mem::replace(&mut seen[task as usize], true) {
            return;
        }
        rows[task as usize]
            .iter()
            .for_each(|next| visit(rows, *next, seen, order));
        order.push(task);
    }
    let mut is_sink = vec![true; rows.len()];
    rows.iter()
        .flatten()
        .for_each(|dependency| is_sink[*dependency as usize] = false);
    let (mut seen, mut order) = (vec![false; rows.len()], Vec::new());
    for task in (0..)
        .take(rows.len())
        .filter(|task| is_sink[*task as usize])
    {
        visit(rows, task, &mut seen, &mut order);
    }
    order
}

/// Whatever can run, in the order in which it could.
fn breadth_first(rows: &Rows) -> Vec<u32> {
    let mut order = Vec::new();
    let mut ran = vec![false; rows.len()];
    while order.len() < rows.len() {
        let ready: Vec<u32> = (0..)
            .zip(rows)
            .filter(|(task, row)| !ran[*task as usize] && row.iter().all(|d| ran[*d as usize]))
            .map(|(task, _)| task)
            .collect();
        for task in ready {
            ran[task as usize] = true;
            order.push(task);
        }
    }
    order
}

/// Peaks of this order, naive depth first and breadth first.
fn peaks(rows: &Rows) -> (usize, usize, usize) {
    (
        peak(rows, &order(rows)),
        peak(rows, &naive_depth_first(rows)),
        peak(rows, &breadth_first(rows)),
    )
}

/// Leaves first, then each level of a reduction by `fan_in`; returns the root.
fn reduce(rows: &mut Rows, mut level: Vec<u32>, fan_in: usize) -> u32 {
    while level.len() > 1 {
        level = level
            .chunks(fan_in)
            .map(|chunk| add(rows, chunk.to_vec()))
            .collect();
    }
    level[0]
}

fn add(rows: &mut Rows, row: Vec<u32>) -> u32 {
    rows.push(row);
    u32::try_from(rows.len() - 1).expect("a small graph")
}

fn leaves(rows: &mut Rows, count: usize) -> Vec<u32> {
    (0..count).map(|_| add(rows, Vec::new())).collect()
}

#[test]
fn a_tree_reduction_holds_a_logarithm() {
    let mut rows = Rows::new();
    let level = leaves(&mut rows, 1024);
    reduce(&mut rows, level, 2);
    assert_eq!(peaks(&rows), (12, 12, 1025));
}

#[test]
fn a_lopsided_tree_runs_its_deep_branch_first() {
    // Each level joins a leaf, listed first, with the level below.
    let mut rows = Rows::new();
    let mut spine = add(&mut rows, Vec::new());
    for _ in 0..100 {
        let leaf = add(&mut rows, Vec::new());
        spine = add(&mut rows, vec![leaf, spine]);
    }
    let (ours, naive, _) = peaks(&rows);
    assert_eq!((ours, naive), (3, 102));
}

#[test]
fn two_reductions_over_the_same_data_stay_in_step() {
    let mut rows = Rows::new();
    let data = leaves(&mut rows, 256);
    for _ in 0..2 {
        let mapped = data
            .iter()
            .map(|leaf| add(&mut rows, vec![*leaf]))
            .collect();
        reduce(&mut rows, mapped, 2);
    }
    let (ours, naive, breadth) = peaks(&rows);
    assert!(ours <= 20, "{ours}");
    assert!(naive > 256 && breadth >= 256, "{naive} {breadth}");
}

#[test]
fn map_reduce_frees_each_map_result_when_its_last_reducer_ran() {
    let (maps, reducers) = (40, 10);
    let mut rows = Rows::new();
    let mapped = leaves(&mut rows, maps);
    for reducer in 0..reducers {
        let parts: Vec<u32> = mapped
            .iter()
            .copied()
            .filter(|map| *map as usize % reducers == reducer)
            .collect();
        add(&mut rows, parts);
    }
    let (ours, naive, breadth) = peaks(&rows);
    assert_eq!(
        (ours, naive, breadth),
        (maps / reducers, maps / reducers, maps)
    );
}

#[test]
fn a_full_shuffle_holds_what_it_must() {
    let mut rows = Rows::new();
    let mapped = leaves(&mut rows, 40);
    for _ in 0..10 {
        add(&mut rows, mapped.clone());
    }
    assert_eq!(peaks(&rows), (40, 40, 40));
}

/// Each group has its data, the mean of that, and what is left of every piece of it without the mean. The
/// sum over all takes the data in another order, across the groups.
#[test]
fn data_goes_when_its_group_is_done_though_its_pieces_are_many() {
    let (groups, years, pieces) = (12, 6, 15);
    let mut rows = Rows::new();
    let data = leaves(&mut rows, groups * years);
    let mut left = vec![Vec::new(); data.len()];
    for group in 0..groups {
        let members: Vec<usize> = (0..years).map(|year| year * groups + group).collect();
        let parts = members
            .iter()
            .map(|member| add(&mut rows, vec![data[*member]]));
        let parts = parts.collect();
        let mean = reduce(&mut rows, parts, 4);
        for member in members {
            for _ in 0..pieces {
                let piece = add(&mut rows, vec![data[member]]);
                left[member].push(add(&mut rows, vec![piece, mean]));
            }
        }
    }
    reduce(&mut rows, left.concat(), 2);
    let mut holders = vec![0; rows.len()];
    rows.iter()
        .flatten()
        .for_each(|dependency| holders[*dependency as usize] += 1);
    let (mut held, mut most) = (0, 0);
    for task in order(&rows) {
        held += usize::from(rows[task as usize].is_empty());
        most = most.max(held);
        for &dependency in &rows[task as usize] {
            holders[dependency as usize] -= 1;
            let is_data = rows[dependency as usize].is_empty();
            held -= usize::from(is_data && holders[dependency as usize] == 0);
        }
    }
    assert!(most <= years, "{most}: the data of one group at a time");
}

#[test]
fn chains_run_one_after_the_other() {
    let mut rows = Rows::new();
    let mut ends = leaves(&mut rows, 50);
    for _ in 0..20 {
        ends = ends.iter().map(|end| add(&mut rows, vec![*end])).collect();
    }
    let (ours, naive, breadth) = peaks(&rows);
    assert_eq!((ours, naive), (2, 2));
    assert!(breadth >= 50, "{breadth}");
}

/// A point of the next row needs its three neighbours of this one.
#[test]
fn a_stencil_advances_on_a_narrow_front() {
    let (width, steps) = (64_u32, 64);
    let mut rows = Rows::new();
    let mut row = leaves(&mut rows, width as usize);
    for _ in 0..steps {
        row = (0..width)
            .map(|x| {
                let near = x.saturating_sub(1)..=(x + 1).min(width - 1);
                add(&mut rows, near.map(|x| row[x as usize]).collect())
            })
            .collect();
    }
    let (ours, naive, breadth) = peaks(&rows);
    assert!(
        ours <= naive && ours <= breadth + steps,
        "{ours} {naive} {breadth}"
    );
}

#[test]
fn a_chain_of_a_million_needs_no_stack() {
    let rows: Rows = (0..1_000_000_u32)
        .map(|i| i.checked_sub(1).into_iter().collect())
        .collect();
    assert!(order(&rows).is_sorted());
}

#[test]
fn a_cycle_is_named() {
    let rows: Rows = vec![vec![], vec![0, 3], vec![1], vec![2], vec![3]];
    assert_eq!(depth_first(&edges(&rows)), Err(Cycle { through: 1 }));
    assert_eq!(
        depth_first(&edges(&vec![vec![0]])),
        Err(Cycle { through: 0 })
    );
}

#[test]
fn nothing_has_an_order_too() {
    assert_eq!(depth_first(&edges(&Rows::new())), Ok(Vec::new()));
}

/// Random acyclic graphs: each task needs some of the few before it.
fn graphs() -> impl Strategy<Value = Rows> {
    let choices = prop::collection::vec(prop::collection::vec(1..12_u32, 0..4), 1..80);
    choices.prop_map(|tasks| {
        (0_u32..)
            .zip(tasks)
            .map(|(task, back)| {
                back.iter()
                    .filter_map(|back| task.checked_sub(*back))
                    .collect()
            })
            .collect()
    })
}

proptest! {
    /// `peak` asserts that dependencies come first and that every task has one place.
    #[test]
    fn every_graph_has_a_valid_order(rows in graphs()) {
        let (ours, naive, _) = peaks(&rows);
        prop_assert!(ours <= naive + 1, "{ours} against {naive}");
    }
}
