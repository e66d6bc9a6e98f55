// How many tasks ran at a time, from samples.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sample } from "../src/api";
import { extent, steps } from "../src/timeline/strip";

/** Samples at these times, with how long tasks had run by then and how many ran at that moment. */
function run(...samples: [at_s: number, took_s: number, running: number][]) {
  return steps(samples.map(([at_s, took_s, running]) => ({ at_s, took_s, running }) as Sample));
}

test("what begins and ends between two samples is there", () => {
  assert.deepEqual(run([1, 0, 0], [1.25, 0.05, 0], [1.5, 0.05, 0]), [{ from: 1, to: 1.25, tasks: 0.2 }]);
});

test("what runs for long is there as long as it runs", () => {
  const tasks = run([1, 0, 2], [2, 2, 2], [3, 4, 0], [4, 4, 0]).map((step) => step.tasks);
  assert.deepEqual(tasks, [2, 2]);
});

test("an attempt that is lost takes nothing from others", () => {
  const tasks = run([1, 0, 3], [2, 3, 3], [3, 2, 2]).map((step) => step.tasks);
  assert.deepEqual(tasks, [3, 2]);
});

test("the strip is as wide as what ran", () => {
  const ran = run([0, 0, 0], [5, 0, 0], [6, 1, 1], [7, 2, 0], [9, 2, 0]);
  assert.deepEqual(extent(ran, [5.2, 6.9]), { from: 5.2, to: 6.9 });
  assert.deepEqual(extent(ran, null), { from: 5, to: 7 });
  assert.deepEqual(extent(ran, [6.5, 6.9]), { from: 5, to: 6.9 }, "the first bars are gone");
  assert.deepEqual(extent([], [1, 2]), { from: 1, to: 2 });
});
