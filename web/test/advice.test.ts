// What is advised, for runs made up of the numbers that a server sends.

import assert from "node:assert/strict";
import { test } from "node:test";
import { findings } from "../src/advice";
import type { Group, Overview, Sample } from "../src/api";

const GROUP: Group = {
  group: 1,
  name: "fit",
  submitted: 20,
  finished: 20,
  failed: 0,
  retried: 0,
  total_s: 2,
  waited_s: 0,
  ran_s: [0.05, 0.1, 0.1, 0.1, 0.2],
  load_s: 0,
  first_load_s: 0,
  first_loads: 2,
  store_s: 0,
  mostly_moving: 0,
  running_s: null,
  on_threads: false,
  bytes_total: 0,
  bytes: null,
  queued_median_s: 0,
  seen: 20,
};

interface Case {
  group?: Partial<Group>;
  tasks?: Partial<Overview["tasks"]>;
  /** Of each sample; cores are rates. */
  now?: Partial<Sample> & { busy?: number; program?: number; free?: number | null };
  /** Of the last sample. */
  recent?: Partial<Sample>;
  /** Of each sample by its number, of which there are so many, four in a second. */
  each?: (number: number) => Partial<Sample>;
  length?: number;
  starting?: number;
  budget?: number;
  machine?: number | null;
  spills?: number;
  ended?: boolean;
}

function advice({ group = {}, tasks = {}, now = {}, recent = {}, each = () => ({}), length = 12, starting = 0, budget = 4, machine = 4, spills = 0, ended = false }: Case): string[] {
  const row = { ...GROUP, ...group };
  const { busy = 0, program = 0, free = null, ...sample } = now;
  const samples = Array.from({ length }, (_, number): Sample => {
    const at_s = number / 4;
    const nothing = { ended: 0, failed: 0, waiting: 0, ready: 0, backoff: 0, ahead: 0, running: 0, blocked: 0, memory_bytes: 0, spilled_bytes: 0, runnable: 0, computing: 0, on_threads: 0, cores: 0, took_s: 0 };
    return { ...nothing, at_s, cpu_s: at_s * busy, program_cpu_s: at_s * program, idle_s: free === null ? null : at_s * free, ...sample, ...each(number), ...(number === length - 1 ? recent : {}) };
  });
  const overview: Overview = {
    next: 12,
    resumed: false,
    at_s: 3,
    origin_unix_ms: 0,
    ended,
    tasks: { submitted: 20, waiting: 0, ready: 0, backoff: 0, ahead: 0, running: 0, blocked: 0, finished: 20, failed: 0, dropped: 0, retried: 0, ...tasks },
    tasks_per_s: 1,
    cores: { busy, taken: 0, budget, machine },
    memory: { used_bytes: 0, peak_bytes: 0, budget_bytes: 1, spilled_bytes: 0, spills, objects: 0 },
    workers: { up: 2, idle: 0, starting, died: 0 },
    groups: [row],
    groups_more: 0,
    total: { ran_s: row.total_s, bytes: 0 },
    beyond: { events_missed: 0, tasks_unlisted: 0, bars_dropped: 0, bars_missing: 0 },
    samples: [],
  };
  return findings(overview, samples).map((finding) => `${finding.id}: ${finding.why} ${finding.remedy}`);
}

function check(found: string[], ...expected: RegExp[]): void {
  assert.equal(found.length, expected.length, found.join("\n"));
  expected.forEach((pattern, at) => assert.match(found[at]!, pattern));
}

test("a run that has nothing wrong gets none", () => {
  check(advice({ now: { busy: 4, program: 0.1, running: 4, cores: 4, runnable: 4, ready: 50, free: 0 } }));
});

test("what each worker imports once is called imports, and makes no task a long one", () => {
  const group = { load_s: 6.5, first_load_s: 6.4, mostly_moving: 2, ran_s: [0.05, 0.06, 0.06, 0.06, 0.06] as Group["ran_s"], total_s: 1.2 };
  check(advice({ group, ended: true }), /^imports: The first task of fit in each of 2 workers took 3\.20 s .* 83 %/);
  check(advice({ group: { ...group, total_s: 600 }, ended: true }));
  // One task in each worker: it may have been either.
  check(advice({ group: { seen: 2, finished: 2, load_s: 6.4, first_load_s: 6.4, mostly_moving: 2 }, ended: true }));
  // Large arguments, which every task has.
  check(advice({ group: { ...group, load_s: 64, mostly_moving: 20 }, ended: true }), /^moving: 20 of 20 tasks of fit .*1 min 4 s/);
});

test("what helps against small tasks depends on where they run", () => {
  const group = { finished: 5000, seen: 5000, ran_s: [1e-6, 2e-6, 3e-6, 4e-6, 9e-6] as Group["ran_s"] };
  check(advice({ group, ended: true }), /^tiny: Half of the 5,000 tasks of fit ran for less than 3\.00 µs; handing one to a worker .* chunksize/);
  check(advice({ group: { ...group, on_threads: true }, ended: true }), /^tiny: (?!.*(worker|map)).*several items/);
});

test("threads that share the interpreter are told to be processes, and no core is called free", () => {
  const now = { busy: 0.97, program: 0.97, on_threads: 4, computing: 4, running: 4, cores: 4, runnable: 1, ready: 20, free: 3 };
  check(advice({ now }), /^interpreter: 4 tasks run on threads, and together they keep 0\.97 cores busy.*processes/);
  check(advice({ now: { ...now, busy: 0.3, program: 0.3, free: 0, ready: 0 } }), /^interpreter/);
  // They sleep, which is what threads are for; there is only one core; or others have the cores that they could use.
  check(advice({ now: { ...now, busy: 0.1, program: 0.1, ready: 0 } }));
  check(advice({ now: { ...now, cores: 1, ready: 0 }, budget: 1 }));
  // They sleep while another thread of the program computes.
  check(advice({ now: { ...now, on_threads: 16, running: 16, computing: 1, ready: 0 } }));
  check(advice({ now: { ...now, runnable: 4, free: 0, ready: 0 } }), /^crowded/);
});

test("threads are not said to sleep before it is known whether they compute", () => {
  const now = { busy: 0.97, program: 0.97, on_threads: 4, running: 4, cores: 4, runnable: 1, ready: 20, free: 1 };
  check(advice({ now: { ...now, computing: 0 }, budget: 2, machine: 2 }));
  check(advice({ now: { ...now, computing: 1 }, recent: { computing: 2 }, budget: 2, machine: 2 }), /^interpreter/);
  check(advice({ now: { ...now, computing: 0 }, recent: { computing: 1 }, budget: 2, machine: 2 }));
  // Others have the cores, so that it cannot have been much.
  check(advice({ now: { ...now, busy: 0.4, program: 0.4, free: 0, computing: 4 } }), /^interpreter/);
  check(advice({ now: { ...now, busy: 0.4, program: 0.4, free: 0, computing: 0 } }), /^crowded/);
  // One thread has computed for all the time, and it is none of theirs.
  check(advice({ now: { ...now, computing: 1 }, budget: 2, machine: 2 }), /^queue: .* Give the pool more threads/);
});

test("what sleeps is told so, whoever has the cores", () => {
  const now = { busy: 0.2, program: 0.1, running: 4, cores: 4, ready: 20 };
  for (const free of [3.7, 0.1, null]) {
    check(advice({ now: { ...now, free } }), /^queue: 20 tasks could run, and those that run keep only 0\.20 of 4 cores/);
  }
  check(advice({ now: { ...now, ready: 1 } }), /^queue: 1 task could run/);
  check(advice({ now: { ...now, on_threads: 4 } }), /^queue: .* Give the pool more threads/);
});

test("nobody is said to sleep whom the engine keeps waiting, or who computes", () => {
  const now = { busy: 0.2, program: 0.1, running: 2, cores: 2, ready: 20, free: 0.1 };
  // Memory is short, attempts wait for their time, or nothing runs.
  check(advice({ now: { ...now, spilled_bytes: 1 } }));
  check(advice({ now: { ...now, memory_bytes: 1 } }));
  check(advice({ now: { ...now, ready: 0, running: 0, cores: 0, backoff: 200 } }));
  check(advice({ now: { ...now, running: 0, cores: 0 } }));
  check(advice({ now: { ...now, ready: 0, waiting: 3, backoff: 200, running: 0, cores: 0 } }));
  // A pool has fewer workers than there are cores, or more.
  check(advice({ now: { ...now, busy: 2, runnable: 2, free: 6 }, budget: 8, machine: 8 }), /^narrow/);
  check(advice({ now: { ...now, busy: 1, runnable: 1, running: 1, cores: 1, free: 1 }, budget: 2, machine: 2 }), /^narrow/);
  check(advice({ now: { ...now, busy: 2, runnable: 8, running: 8, cores: 8, free: 0 }, budget: 8, machine: 2 }));
});

test("other programs are blamed only for cores that they have and that threads of this one want", () => {
  const now = { busy: 1, program: 0.1, running: 4, cores: 4, ready: 20, runnable: 4, free: 0.1 };
  check(advice({ now }), /^crowded: This program could keep 4\.00 cores busy and has 1\.00; others have 2\.90 of the machine's 4/);
  check(advice({ now, machine: null }));
  check(advice({ now: { ...now, free: 2.9 } }));
  check(advice({ now: { ...now, busy: 3.6 } }));
});

test("what is slow because it goes to disk is told so once", () => {
  const group = { load_s: 6, first_load_s: 0, store_s: 60, mostly_moving: 20 };
  check(advice({ group, ended: true }), /^moving/);
  check(advice({ group, spills: 3, ended: true }), /^spilling/);
});

test("cores are idle, too, where workers have not been started", () => {
  const now = { waiting: 20, running: 1, cores: 1, busy: 1, runnable: 1 };
  const tasks = { waiting: 20, running: 1 };
  check(advice({ now, tasks }), /^idle: 3 of 4 cores have no task, while 20 tasks wait for the results of 1 that run/);
  check(advice({ now: { ...now, cores: 4 }, tasks }));
  check(advice({ now: { ...now, ready: 1, busy: 3 }, tasks }));
  check(advice({ now, tasks, ended: true }));
});

test("a straggler is told of while it runs", () => {
  check(advice({ group: { running_s: 6 } }), /^skewed: A task of fit has been running for 6\.00 s, half of them for less than 100 ms/);
  check(advice({ group: { running_s: 0.9 } }));
  check(advice({ group: { running_s: 6, finished: 3 } }));
  check(advice({ group: { ran_s: [0.05, 0.1, 0.1, 0.1, 8], total_s: 10 }, ended: true }), /^skewed: The longest task of fit ran for 8\.00 s/);
});

test("threads of a library are told of although no more cores can be busy than there are", () => {
  const now = { busy: 2, program: 0.05, running: 2, cores: 2, runnable: 8, ready: 0, free: 0 };
  check(advice({ now, budget: 2, tasks: { running: 2 } }), /^oversubscribed: 8 threads .* the budget is 2: a library runs threads/);
  check(advice({ now: { ...now, runnable: 3 }, budget: 2, tasks: { running: 2 } }));
  check(advice({ now: { ...now, running: 8, on_threads: 8 }, budget: 2, tasks: { running: 8 } }), /^oversubscribed: .* more tasks run at a time/);
});

test("a call at a time that is waited for is told of, and not a single one or what the program takes its time for", () => {
  // A task ends every half second.
  const each = (number: number) => ({ ended: Math.floor(number / 2), running: 1, cores: 1 });
  const now = { busy: 1, program: 0.02, runnable: 1, free: 1 };
  check(advice({ now, each, budget: 2, length: 20 }), /^serial: In the last 4\.75 s 9 tasks ran, each .* 1 of 2 cores had none\. .* map/);
  check(advice({ now, each, budget: 1, length: 20 }));
  // A run that is over tells of it if it held for long.
  check(advice({ now, each, budget: 2, length: 12, ended: true }));
  check(advice({ now, each, budget: 2, length: 20, ended: true }), /^serial: This held for 4\.00 s of the run; 4\.75 s after its beginning: In the last/);
  check(advice({ now, each: (number) => (number > 20 ? { ended: 10 } : each(number)), budget: 2, length: 400, ended: true }));
  // There was much to do before.
  const after = (number: number) => (number < 20 ? { ended: number, running: 2, cores: 2, ready: 5 } : { ...each(number), ended: 20 + each(number - 20).ended });
  check(advice({ now, each: after, budget: 2, length: 32 }), /^serial: In the last 2\.75 s 5 tasks/);
  check(advice({ now, each: after, budget: 2, length: 24 }));
  // Several ended between two samples, while their workers were replaced, and a long one is left.
  check(advice({ now: { ...now, busy: 0 }, each: (number) => ({ ended: number < 2 ? 0 : 12, running: 1, cores: 1 }), budget: 2, length: 16 }));
  // Somebody asks now and then; or the program makes the next one meanwhile.
  check(advice({ now, each: (number) => ({ ended: Math.floor(number / 8), running: number % 8 === 0 ? 1 : 0 }), budget: 2, length: 32 }));
  check(advice({ now: { ...now, program: 0.6 }, each, budget: 2, length: 20 }));
});

test("a program that computes between its calls is told to, and not one that is over, or waits for a person", () => {
  // Calls are there for one sample in four.
  const each = (number: number) => ({ ended: Math.floor(number / 4) * 2 });
  const now = { busy: 1, program: 1, runnable: 1, free: 1 };
  check(advice({ now, each, budget: 2, length: 32 }), /^apart: For 58 % of the last 7\.75 s no task was there, and the program itself kept 1\.00 cores busy/);
  check(advice({ now, each, budget: 1, length: 32 }));
  check(advice({ now: { ...now, program: 0.1 }, each, budget: 2, length: 32 }));
  // It has submitted nothing any more for two seconds, or has only begun to.
  check(advice({ now, each: (number) => each(Math.min(number, 20)), budget: 2, length: 32 }));
  check(advice({ now, each: (number) => each(Math.max(number, 28)), budget: 2, length: 32 }));
  check(advice({ now, each: () => ({ ended: 20 }), budget: 2, length: 40 }));
});

test("a pool with fewer workers than there are cores is told of while tasks wait for it", () => {
  const now = { busy: 1, runnable: 1, running: 1, cores: 1, ready: 10, free: 1 };
  check(advice({ now, budget: 2, machine: 2 }), /^narrow: 10 tasks wait for 1 worker that is busy, while 1 of 2 cores have no task\. Give the pool 2 workers/);
  check(advice({ now: { ...now, ready: 0, ahead: 1 }, budget: 2, machine: 2 }), /^narrow: 1 task waits/);
  // Others have the cores, the next worker is starting, memory is short, or a task takes both cores.
  check(advice({ now: { ...now, free: 0 }, budget: 2, machine: 2 }));
  check(advice({ now, budget: 2, machine: 2, starting: 1 }));
  check(advice({ now: { ...now, memory_bytes: 1 }, budget: 2, machine: 2 }));
  check(advice({ now: { ...now, cores: 2 }, budget: 3, machine: 3 }));
  // They were more a moment ago.
  check(advice({ now, each: (number) => (number === 8 ? { running: 2, cores: 2 } : {}), budget: 2, machine: 2 }));
});

test("a task that is left and computes is told of, and not one that sleeps or has threads of its own", () => {
  const now = { busy: 1, runnable: 1, running: 1, cores: 1, free: 1 };
  check(advice({ now, group: { running_s: 2.5, ran_s: null, finished: 0 }, budget: 2 }), /^last: 1 task runs, one of fit for 2\.50 s, and 1 of 2 cores have none\. Divide/);
  check(advice({ now: { ...now, busy: 2, running: 2, cores: 2 }, budget: 8 }), /^last: 2 tasks run, and 6 of 8 cores/);
  check(advice({ now: { ...now, busy: 0.1 }, budget: 2 }));
  check(advice({ now: { ...now, busy: 1.9 }, budget: 2 }));
  check(advice({ now, each: (number) => ({ ended: number > 8 ? 1 : 0 }), budget: 2 }));
  // What is said of it as one that takes longer than others is enough.
  check(advice({ now, group: { running_s: 6 }, budget: 2 }), /^skewed/);
});
