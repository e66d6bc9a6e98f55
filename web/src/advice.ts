// Findings: what keeps a run from being faster, each with a number and what can be done about it. From the overview alone, so
// a report has them too. A finding is told when it is worth a person's time, not before.

import type { Group, Overview, Sample } from "./api";
import { bytes, count, duration, percent } from "./format";
import { isImport } from "./groups";
import { atPresent } from "./present";

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

export function findings(overview: Overview, samples: Sample[]): Finding[] {
  const always = [tiny, imports, moving, spilling, skewed, retries, deaths].map((find) => find(overview)).filter((finding) => finding !== null);
  // That a long one is left at the end is said already.
  const isTold = ({ id }: Finding) => id === "last" && always.some((finding) => finding.id === "skewed");
  return [...atPresent(overview, samples).filter((finding) => !isTold(finding)), ...always];
}

function tiny({ groups }: Overview): Finding | null {
  const small = groups.filter((group) => group.ran_s && group.seen >= MANY && group.ran_s[2] < TINY_S);
  const most = small.sort((one, other) => other.finished - one.finished)[0];
  if (!most) return null;
  return {
    id: "tiny",
    title: "Tasks are too small to pay",
    why: `Half of the ${count(most.finished)} tasks of ${most.name} ran for less than ${duration(most.ran_s![2])}; ${most.on_threads ? "a task" : "handing one to a worker"} costs tens of microseconds.`,
    remedy: most.on_threads
      ? "Do more in each call: give it several items, or call the function without a task."
      : "Do more in each call, or use lineshaft.map or a Pool's map, which send many items at a time; the map of an executor does with chunksize=100.",
  };
}

function imports({ groups }: Overview): Finding | null {
  const found = groups.filter(isImport);
  const most = found.sort((one, other) => other.first_load_s - one.first_load_s)[0];
  const imports_s = found.reduce((sum, group) => sum + group.first_load_s, 0);
  const all_s = groups.reduce((sum, group) => sum + group.total_s + group.load_s + group.store_s, 0);
  if (!most || imports_s < Math.max(MOVED_S, all_s * 0.2)) return null;
  return {
    id: "imports",
    title: "Workers spend their time on imports",
    why: `The first task of ${most.name} in each of ${count(most.first_loads)} workers took ${duration(most.first_load_s / most.first_loads)} to load what it imports; of the time of all tasks, ${percent(imports_s / all_s)} went to imports.`,
    remedy: "Keep one engine and its workers for the whole program, let each do more, or run on threads, which have what the program has imported.",
  };
}

function moving({ groups, memory }: Overview): Finding | null {
  // What is written to disk and read from there takes longer, whatever it is.
  if (memory.spills > 0) return null;
  // Where all were the first ones of their workers, nobody knows what was imported and what were arguments.
  const loaded_s = (group: Group) => group.load_s - (isImport(group) || group.seen <= group.first_loads ? group.first_load_s : 0);
  const moved_s = (group: Group) => loaded_s(group) + group.store_s;
  // Where it is short, too: then the tasks are too small, whatever they do.
  const slow = groups.filter((group) => group.mostly_moving > group.seen / 2 && moved_s(group) > Math.max(MOVED_S, group.seen * TINY_S));
  const most = slow.sort((one, other) => moved_s(other) - moved_s(one))[0];
  if (!most) return null;
  const { name, store_s } = most;
  return {
    id: "moving",
    title: "Moving data takes longer than running",
    why: `${count(most.mostly_moving)} of ${count(most.seen)} tasks of ${name} took longer to load arguments (${duration(loaded_s(most))} in all) and to store results (${duration(store_s)}) than to run.`,
    remedy:
      loaded_s(most) > store_s
        ? "Hand over arrays and not lists of Python objects; give a path, and read it in the task; or run it on threads, which take arguments as they are."
        : "Return arrays and not lists of Python objects, or less; or run it on threads, where results stay as they are.",
  };
}

function spilling({ memory }: Overview): Finding | null {
  if (memory.spills === 0) return null;
  return {
    id: "spilling",
    title: "Results did not fit into memory",
    why: `${count(memory.spills)} objects went to disk; at most ${bytes(memory.peak_bytes)} of ${bytes(memory.budget_bytes)} were in memory.`,
    remedy: "Give it more memory, return less from each task, or let go of results that are no longer needed.",
  };
}

function skewed({ groups, total }: Overview): Finding | null {
  const isLong = ({ ran_s, finished }: Group, longest_s: number) =>
    ran_s !== null && finished >= 4 && longest_s > 10 * ran_s[2] && longest_s > Math.max(1, total.ran_s * 0.1);
  const running = groups.find((group) => group.running_s !== null && isLong(group, group.running_s));
  const found = running ?? groups.find((group) => group.ran_s && isLong(group, group.ran_s[4]));
  if (!found) return null;
  const { name, ran_s, running_s } = found;
  const [longest_s, median_s] = [running ? running_s! : ran_s![4], ran_s![2]];
  return {
    id: "skewed",
    title: "One task takes much longer than the others like it",
    why: `${running ? `A task of ${name} has been running for ${duration(longest_s)}` : `The longest task of ${name} ran for ${duration(longest_s)}`}, half of them for less than ${duration(median_s)}.`,
    remedy: "Start the long ones first, or divide them: at the end the others wait for them.",
  };
}

function retries({ tasks }: Overview): Finding | null {
  const attempts = tasks.retried + tasks.finished + tasks.failed;
  if (tasks.retried < 10 || tasks.retried < attempts * 0.05) return null;
  return {
    id: "retries",
    title: "Many attempts fail and are run again",
    why: `${count(tasks.retried)} attempts were retried, ${percent(tasks.retried / attempts)} of all.`,
    remedy: "Look at tasks that ended without a result for what they raise; wait longer between retries if it is a service that refuses.",
  };
}

function deaths({ workers }: Overview): Finding | null {
  if (workers.died === 0) return null;
  return {
    id: "deaths",
    title: "Workers died",
    why: `${count(workers.died)} worker ${workers.died === 1 ? "process" : "processes"} ended without having been asked to.`,
    remedy: "The page of workers has the signal, the most memory and the last stack of each.",
  };
}
