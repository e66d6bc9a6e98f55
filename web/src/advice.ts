// Findings: what keeps a run from being faster, each with a number and what can be done about it. From the overview alone, so
// a report has them too. A finding is told when it is worth a person's time, not before.

import type { Group, Overview, Sample } from "./api";
import { bytes, count, duration, number, percent } from "./format";
import { isImport } from "./groups";

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
  const now = present(overview, samples);
  const always = [tiny, imports, moving, spilling, skewed, retries, deaths].map((find) => find(overview));
  const live = now ? [idle, interpreter, queue, crowded, oversubscribed].map((find) => find(overview, now)) : [];
  return [...live, ...always].filter((finding) => finding !== null);
}

/** The last two seconds. */
interface Present {
  samples: Sample[];
  /** Cores that the program and its workers keep busy, that the program's own process does, and that have nothing to do. */
  busy: number;
  program: number;
  free: number | null;
}

function present({ ended }: Overview, samples: Sample[]): Present | null {
  const steady = samples.slice(-STEADY);
  if (ended || steady.length < STEADY) return null;
  const [first, last] = [steady[0]!, steady.at(-1)!];
  const rate = (from: number, to: number) => (to - from) / Math.max(last.at_s - first.at_s, 1e-9);
  const free = first.idle_s === null || last.idle_s === null ? null : rate(first.idle_s, last.idle_s);
  return { samples: steady, busy: rate(first.cpu_s, last.cpu_s), program: rate(first.program_cpu_s, last.program_cpu_s), free };
}

function mean(samples: Sample[], of: (sample: Sample) => number): number {
  return samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
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

function idle({ tasks, cores }: Overview, { samples }: Present): Finding | null {
  const waits = ({ ready, backoff, running, waiting, cores: taken }: Sample) =>
    ready === 0 && backoff === 0 && running > 0 && waiting > 0 && taken < cores.budget;
  if (!samples.every(waits)) return null;
  const free = cores.budget - Math.max(...samples.map((sample) => sample.cores));
  return {
    id: "idle",
    title: "Cores are idle because tasks wait for other tasks",
    why: `${count(free)} of ${count(cores.budget)} cores have no task, while ${number(tasks.waiting, "task waits", "tasks wait")} for the results of ${count(tasks.running)} that run.`,
    remedy: "Split the tasks that the others wait for, or submit independent work beside them.",
  };
}

/**
 * Threads of Python code, of which one runs at a time. One that waits for the interpreter sleeps; one that waits for a core does not. That
 * they compute is known if each of them, or half, takes processor time: another thread of the program may have the interpreter while they sleep.
 */
function interpreter({ cores }: Overview, { samples, program, free }: Present): Finding | null {
  const [threads, runnable] = [Math.min(...samples.map((sample) => sample.on_threads)), samples.map((sample) => sample.runnable)];
  if (cores.budget < 2 || threads < 2 || mean(samples, (sample) => sample.runnable) >= threads) return null;
  // Where other programs have the cores, one that could run tells as much.
  if (Math.min(...samples.map((sample) => sample.computing)) < Math.max(2, threads / 2)) return null;
  const computes = program > 0.7 || (free !== null && free < 0.2 && Math.min(...runnable) > 0);
  if (!computes || program > 1.2) return null;
  return {
    id: "interpreter",
    title: "Threads compute and share one core",
    why: `${count(threads)} tasks run on threads, and together they keep ${program.toFixed(2)} cores busy: Python code holds the interpreter's lock, which one thread has at a time.`,
    remedy: "Run them in processes.",
  };
}

/** What runs sleeps: no thread of it wants a core. Not where memory is short: there tasks are held back, or wait for the disk. */
function queue(overview: Overview, now: Present): Finding | null {
  const { cores, memory } = overview;
  const { samples, busy } = now;
  const isShort = samples.some((sample) => sample.spilled_bytes > 0 || sample.memory_bytes > memory.budget_bytes * 0.8);
  const isFull = samples.every((sample) => sample.ready > 0 && sample.running > 0);
  const running = mean(samples, (sample) => sample.running);
  if (isShort || !isFull || busy > Math.min(cores.budget, running) * 0.5) return null;
  if (mean(samples, (sample) => sample.runnable) > running * 0.5 || interpreter(overview, now)) return null;
  const onThreads = samples.every((sample) => sample.on_threads >= sample.running);
  return {
    id: "queue",
    title: "Tasks wait while those that run sleep",
    why: `${number(samples.at(-1)!.ready, "task")} could run, and those that run keep only ${busy.toFixed(2)} of ${cores.budget} cores busy: they sleep, or wait for files, the network or a lock.`,
    remedy: onThreads ? "Give the pool more threads, or make them coroutines." : "Run tasks that wait on threads or as coroutines, of which more can run at a time.",
  };
}

/** Threads of this program want cores that others have. */
function crowded(overview: Overview, now: Present): Finding | null {
  const { cores } = overview;
  const { samples, busy, free } = now;
  if (cores.machine === null || free === null || interpreter(overview, now)) return null;
  const others = cores.machine - free - busy;
  const missing = Math.min(cores.budget, mean(samples, (sample) => sample.runnable)) - busy;
  if (others < 0.5 || free > missing / 2 || missing < Math.max(0.5, busy * 0.25)) return null;
  return {
    id: "crowded",
    title: "Other programs take the cores",
    why: `This program could keep ${(busy + missing).toFixed(2)} cores busy and has ${busy.toFixed(2)}; others have ${others.toFixed(2)} of the machine's ${cores.machine}.`,
    remedy: "End what else computes on this machine, or wait for it.",
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
    why: `${count(workers.died)} worker ${workers.died === 1 ? "process" : "processes"} ended without having been asked to.`,
    remedy: "The page of workers has the signal, the most memory and the last stack of each.",
  };
}

/** Threads that want a core and cannot have one: how busy the cores are does not tell. */
function oversubscribed({ tasks, cores }: Overview, { samples }: Present): Finding | null {
  if (!samples.every((sample) => sample.runnable > cores.budget * 1.5)) return null;
  const threads = Math.round(mean(samples, (sample) => sample.runnable));
  const isLibrary = threads > tasks.running * 1.5;
  return {
    id: "oversubscribed",
    title: "More threads compute than there are cores",
    why: `${count(threads)} threads of this program and its workers want a core, and the budget is ${cores.budget}: ${isLibrary ? "a library runs threads of its own inside tasks" : "more tasks run at a time than that"}.`,
    remedy: isLibrary ? "Limit the library's threads in tasks, for example by threadpoolctl, or use fewer workers." : "Run fewer at a time.",
  };
}
