// Findings: what keeps a run from being faster, each with a number and what can be done about it. From the overview alone, so
// a report has them too. A finding is told when it is worth a person's time, not before.

import type { Group, Overview, Sample } from "./api";
import { bytes, count, duration, percent } from "./format";

export interface Finding {
  id: string;
  title: string;
  /** The number. */
  why: string;
  /** The remedy. */
  remedy: string;
}

/** Time of a task below which handing it over costs more than it does. */
const TINY_S = 200e-6;
const MANY = 1000;
/** Time for loading and storing, over all tasks of a function, from which on it is worth a word. */
const MOVED_S = 1;
/** Samples that a finding about the present must hold for: two seconds. */
const STEADY = 8;

export function findings(overview: Overview, samples: Sample[]): Finding[] {
  const all = [tiny, moving, idle, queue, spilling, skewed, retries, deaths, oversubscribed];
  return all.map((find) => find(overview, samples)).filter((finding) => finding !== null);
}

function tiny({ groups }: Overview): Finding | null {
  const small = groups.filter((group) => group.ran_s && group.seen >= MANY && group.ran_s[2] < TINY_S);
  const most = small.sort((one, other) => other.finished - one.finished)[0];
  if (!most) return null;
  return {
    id: "tiny",
    title: "Tasks are too small to pay",
    why: `Half of the ${count(most.finished)} tasks of ${most.name} ran for less than ${duration(most.ran_s![2])}; handing one to a worker costs tens of microseconds.`,
    remedy: "Do more in each call, or use map, which sends many items at a time.",
  };
}

function moving({ groups }: Overview): Finding | null {
  const moved_s = (group: Group) => group.load_s + group.store_s;
  // Where it is short, too: then the tasks are too small, whatever they do. Imports of a first call are long, but once.
  const slow = groups.filter((group) => group.mostly_moving > group.seen / 2 && moved_s(group) > Math.max(MOVED_S, group.seen * TINY_S));
  const most = slow.sort((one, other) => moved_s(other) - moved_s(one))[0];
  if (!most) return null;
  const { name, load_s, store_s } = most;
  return {
    id: "moving",
    title: "Moving data takes longer than running",
    why: `${count(most.mostly_moving)} of ${count(most.seen)} tasks of ${name} took longer to load arguments (${duration(load_s)} in all) and to store results (${duration(store_s)}) than to run.`,
    remedy:
      load_s > store_s
        ? "Hand over arrays and not lists of Python objects; give a path, and read it in the task; or run it on threads, which take arguments as they are."
        : "Return arrays and not lists of Python objects, or less; or run it on threads, where results stay as they are.",
  };
}

function idle({ tasks, workers, cores, ended }: Overview, samples: Sample[]): Finding | null {
  if (ended || workers.idle === 0 || tasks.waiting === 0) return null;
  const steady = samples.slice(-STEADY);
  if (steady.length < STEADY || !steady.every((sample) => sample.ready === 0 && sample.waiting > 0 && sample.running < cores.budget)) return null;
  return {
    id: "idle",
    title: "Workers are idle because tasks wait for other tasks",
    why: `${count(workers.idle)} of ${count(workers.up)} workers have nothing to do, while ${count(tasks.waiting)} tasks wait for the results of ${count(tasks.running)} that run.`,
    remedy: "Split the tasks that the others wait for, or submit independent work beside them.",
  };
}

function queue({ tasks, cores, ended }: Overview, samples: Sample[]): Finding | null {
  const steady = samples.slice(-STEADY);
  if (ended || steady.length < STEADY || tasks.ready === 0) return null;
  const [first, last] = [steady[0]!, steady.at(-1)!];
  const busy = (last.cpu_s - first.cpu_s) / Math.max(last.at_s - first.at_s, 1e-9);
  if (!steady.every((sample) => sample.ready > 0) || busy > cores.budget * 0.5) return null;
  return {
    id: "queue",
    title: "Tasks wait although cores are free",
    why: `${count(tasks.ready)} tasks could run, and only ${busy.toFixed(2)} of ${cores.budget} cores are busy: what runs sleeps, or waits for files, the network or a lock.`,
    remedy: "Run tasks that wait on threads or as coroutines, of which more can run at a time.",
  };
}

function spilling({ memory }: Overview): Finding | null {
  if (memory.spills === 0) return null;
  return {
    id: "spilling",
    title: "Results did not fit into memory",
    why: `${count(memory.spills)} objects were moved to disk; at most ${bytes(memory.peak_bytes)} of ${bytes(memory.budget_bytes)} were in memory.`,
    remedy: "Give it more memory, return less from each task, or let go of results that are no longer needed.",
  };
}

function skewed({ groups }: Overview): Finding | null {
  const total_s = groups.reduce((sum, group) => sum + group.total_s, 0);
  const found = groups.find((group) => group.ran_s && group.finished >= 4 && group.ran_s[4] > 10 * group.ran_s[2] && group.ran_s[4] > Math.max(1, total_s * 0.1));
  if (!found) return null;
  return {
    id: "skewed",
    title: "One task takes much longer than the others like it",
    why: `The longest task of ${found.name} ran for ${duration(found.ran_s![4])}, half of them for less than ${duration(found.ran_s![2])}.`,
    remedy: "Start the long ones first, or divide them: at the end the others wait for them.",
  };
}

function retries({ tasks }: Overview): Finding | null {
  if (tasks.retried < 10 || tasks.retried < tasks.finished * 0.05) return null;
  return {
    id: "retries",
    title: "Many attempts fail and are run again",
    why: `${count(tasks.retried)} attempts were retried, ${percent(tasks.retried / (tasks.retried + tasks.finished))} of all.`,
    remedy: "Look at tasks that ended without a result for what they raise; wait longer between retries if it is a service that refuses.",
  };
}

function deaths({ workers }: Overview): Finding | null {
  if (workers.died === 0) return null;
  return {
    id: "deaths",
    title: "Workers died",
    why: `${count(workers.died)} worker processes ended without having been asked to.`,
    remedy: "The page of workers has the signal, the most memory and the last stack of each.",
  };
}

function oversubscribed({ cores, ended }: Overview, samples: Sample[]): Finding | null {
  const steady = samples.slice(-STEADY);
  if (ended || steady.length < STEADY) return null;
  const [first, last] = [steady[0]!, steady.at(-1)!];
  const busy = (last.cpu_s - first.cpu_s) / Math.max(last.at_s - first.at_s, 1e-9);
  if (busy < cores.budget * 1.5) return null;
  return {
    id: "oversubscribed",
    title: "More cores are busy than there are",
    why: `${busy.toFixed(1)} cores are busy, and the budget is ${cores.budget}: a library runs threads of its own inside tasks.`,
    remedy: "Limit the library's threads in tasks, for example by threadpoolctl, or use fewer workers.",
  };
}
