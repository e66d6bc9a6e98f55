use std::time::Duration;

use super::*;
use crate::script::{picture, play};

/// Loads (group 1), each followed by its own clean (2), and all of these by one sum (3); apart from
/// them, a task of group 4.
fn fan(width: u64) -> Picture {
    let mut picture = picture("0 up 1 1\n0 submit 9000 3\n0 submit 9001 4");
    for n in 1..=width {
        let (load, clean) = (n, 1_000 + n);
        play(
            &mut picture,
            &format!(
                "0 submit {load} 1\n0 submit {clean} 2\n1 hand {load} 1 1\n9 finish {load} {n}
                 9 supply {clean} {load}\n9 hand {clean} 1 2\n19 finish {clean} 5\n19 supply 9000 {clean}"
            ),
        );
    }
    play(&mut picture, "20 hand 9000 1 3\n30 finish 9000 7");
    for (group, submitted) in [(1, width), (2, width), (3, 1), (4, 1)] {
        let summary = GroupSummary {
            submitted,
            finished: submitted,
            ran_total: Duration::from_micros(100 - u64::from(group)),
            ..GroupSummary::default()
        };
        picture.totals.groups.push((GroupId(group), summary));
    }
    picture
}

fn shown(picture: &Picture, expand: &str) -> GraphView {
    picture.graph_view(&GraphQuery {
        expand: expand.into(),
    })
}

fn links(view: &GraphView) -> Vec<String> {
    let label = |place: usize| {
        let node = &view.nodes[place];
        node.task
            .map_or(node.name.clone(), |task| format!("{task}"))
    };
    let links = view.links.iter();
    let text = links.map(|link| {
        let mark = if link.on_path { "!" } else { "" };
        format!(
            "{} {} {}{mark}",
            label(link.from),
            label(link.to),
            link.count
        )
    });
    text.collect()
}

#[test]
fn functions_are_linked_and_the_longest_chain_is_marked() {
    let view = shown(&fan(50), "");
    assert_eq!(links(&view), ["f1 f2 50!", "f2 f3 50!"]);
    assert_eq!((view.groups_apart, view.edges), (1, 100));
    assert_eq!((view.path.tasks, view.path.is_cut), (3, false));
    assert!((view.path.ran_s - 62e-6).abs() < 1e-9, "{view:?}");
    let steps = view
        .path
        .steps
        .iter()
        .map(|step| (step.group, step.task, step.tasks));
    assert!(steps.eq([(1, 50, 1), (2, 1_050, 1), (3, 9_000, 1)]));
}

#[test]
fn tasks_of_an_expanded_function_have_nodes_and_every_edge_is_drawn_once() {
    let view = shown(&fan(2), "1");
    assert_eq!(links(&view), ["f2 f3 2!", "1 f2 1", "2 f2 1!"]);
    let few = shown(&fan(500), "1,2");
    assert!(few.nodes.len() <= NODES_MAX);
    assert_eq!(few.nodes[0].submitted, 500 - TASKS_EXPANDED_MAX as u64);
    let count: u64 = few.links.iter().map(|link| link.count).sum();
    assert_eq!(count, 1_000);
    let on_path: Vec<_> = few
        .nodes
        .iter()
        .filter(|node| node.path_tasks > 0)
        .collect();
    let tasks = on_path.iter().map(|node| node.task);
    assert!(tasks.eq([None, Some(500), Some(1_500)]), "{on_path:?}");
}

#[test]
fn more_functions_than_fit_share_a_node() {
    let mut picture = picture("0 up 1 1");
    for group in 0..500 {
        let (task, before) = (group + 1, group);
        play(&mut picture, &format!("0 submit {task} {group}"));
        if before > 0 {
            play(&mut picture, &format!("0 supply {task} {before}"));
        }
        let id = GroupId(u32::try_from(group).expect("small"));
        let summary = GroupSummary {
            submitted: 1,
            ..GroupSummary::default()
        };
        picture.totals.groups.push((id, summary));
    }
    for expand in ["", "499", "499,498,497"] {
        let view = shown(&picture, expand);
        assert!(view.nodes.len() <= NODES_MAX, "{}", view.nodes.len());
        let groups: usize = view.nodes.iter().map(|node| node.groups).sum();
        assert_eq!(groups, 500);
        let within: u64 = view.nodes.iter().map(|node| node.within).sum();
        let between: u64 = view.links.iter().map(|link| link.count).sum();
        assert_eq!(within + between, 499);
    }
}
