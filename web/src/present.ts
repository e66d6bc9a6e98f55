// Findings about the present: what keeps the cores from doing more, as the last two seconds have it. Where these do not tell for
// certain nothing is said, since the remedy for one cause is the opposite of that for another.

import type { Finding } from "./advice";
import type { Overview, Sample } from "./api";
import { count, duration, number } from "./format";
import { idle } from "./idle";

/** Samples that a finding about the present must hold for: two seconds. */
const STEADY = 8;
/** How much is looked at for what comes and goes. */
const RECENT_S = 10;
/** Samples of that time, and more. */
const RECENT_MAX = 60;

/** Of a run that is over, what held for so many seconds of it, and for this part of what is looked at. */
const LONG_S = 3;
const PART = 0.1;

export function atPresent(overview: Overview, samples: Sample[]): Finding[] {
  if (overview.ended) return inRun(overview, samples);
  return found(overview, samples);
}

/** What was found while it ran: of each finding its last one, and how long it held in all. */
function inRun(overview: Overview, samples: Sample[]): Finding[] {
  // What is known of this moment only is not known of those.
  const groups = overview.groups.map((group) => ({ ...group, running_s: null }));
  const then = { ...overview, groups, workers: { ...overview.workers, starting: 0 } };
  const held = new Map<string, { finding: Finding; held_s: number; at_s: number }>();
  let looked_s = 0;
  for (let end = STEADY; end <= samples.length; end += STEADY / 2) {
    const [from, to] = [samples[end - STEADY / 2 - 1]!, samples[end - 1]!];
    looked_s += to.at_s - from.at_s;
    for (const finding of found(then, samples.slice(Math.max(0, end - RECENT_MAX), end))) {
      const held_s = (held.get(finding.id)?.held_s ?? 0) + to.at_s - from.at_s;
      held.set(finding.id, { finding, held_s, at_s: to.at_s });
    }
  }
  const long = [...held.values()].filter(({ held_s }) => held_s >= Math.max(LONG_S, looked_s * PART));
  return long.map(({ finding, held_s, at_s }) => ({ ...finding, why: `This held for ${duration(held_s)} of the run; ${duration(at_s)} after its beginning: ${finding.why}` }));
}

function found(overview: Overview, samples: Sample[]): Finding[] {
  const now = present(samples);
  if (!now) return [];
  return [idle, interpreter, queue, crowded, oversubscribed].map((find) => find(overview, now)).filter((finding) => finding !== null);
}

/** The last two seconds. */
export interface Present {
  samples: Sample[];
  /** The last ten seconds, or fewer, for what comes and goes. */
  recent: Sample[];
  /** Cores that the program and its workers keep busy, that the program's own process does, and that have nothing to do. */
  busy: number;
  program: number;
  free: number | null;
}

function present(samples: Sample[]): Present | null {
  const steady = samples.slice(-STEADY);
  if (steady.length < STEADY) return null;
  const [first, last] = [steady[0]!, steady.at(-1)!];
  const rate = (from: number, to: number) => (to - from) / Math.max(last.at_s - first.at_s, 1e-9);
  const free = first.idle_s === null || last.idle_s === null ? null : rate(first.idle_s, last.idle_s);
  const recent = samples.filter((sample) => sample.at_s >= last.at_s - RECENT_S);
  return { samples: steady, recent, busy: rate(first.cpu_s, last.cpu_s), program: rate(first.program_cpu_s, last.program_cpu_s), free };
}

function mean(samples: Sample[], of: (sample: Sample) => number): number {
  return samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
}

/**
 * Threads of Python code, of which one runs at a time. One that waits for the interpreter sleeps; one that waits for a core does not. That
 * they compute is known if each of them, or half, takes processor time: another thread of the program may have the interpreter while they sleep.
 * That is counted once in a second, so that the last count is of this time.
 */
function interpreter({ cores }: Overview, { samples, program, free }: Present): Finding | null {
  const [threads, runnable] = [Math.min(...samples.map((sample) => sample.on_threads)), samples.map((sample) => sample.runnable)];
  if (cores.budget < 2 || threads < 2 || mean(samples, (sample) => sample.runnable) >= threads) return null;
  if (samples.at(-1)!.computing < Math.max(2, threads / 2)) return null;
  // Where other programs have the cores, one that could run tells as much.
  const computes = program > 0.7 || (free !== null && free < 0.2 && Math.min(...runnable) > 0);
  if (!computes || program > 1.2) return null;
  return {
    id: "interpreter",
    title: "Threads compute and share one core",
    why: `${count(threads)} tasks run on threads, and together they keep ${program.toFixed(2)} cores busy: Python code holds the interpreter's lock, which one thread has at a time.`,
    remedy: "Run them in processes.",
  };
}

/**
 * Whether tasks on threads may be waiting for the interpreter and not for anything else: unless the program computes little, or a single
 * thread of it does.
 */
function mayShare({ samples, program, free }: Present): boolean {
  if (samples.every((sample) => sample.on_threads === 0)) return false;
  if (samples.at(-1)!.computing > 1 && program >= 0.2) return true;
  // Where other programs have the cores, it computes little whether it would or not.
  const isFull = free !== null && free < 0.2 && mean(samples, (sample) => sample.runnable) >= 0.5;
  return isFull || (program >= 0.5 && samples.some((sample) => sample.computing !== 1));
}

/** What runs sleeps: no thread of it wants a core. Not where memory is short: there tasks are held back, or wait for the disk. */
function queue(overview: Overview, now: Present): Finding | null {
  const { cores, memory } = overview;
  const { samples, busy } = now;
  const isShort = samples.some((sample) => sample.spilled_bytes > 0 || sample.memory_bytes > memory.budget_bytes * 0.8);
  const isFull = samples.every((sample) => sample.ready > 0 && sample.running > 0);
  const running = mean(samples, (sample) => sample.running);
  if (isShort || !isFull || busy > Math.min(cores.budget, running) * 0.5) return null;
  if (mean(samples, (sample) => sample.runnable) > running * 0.5 || mayShare(now)) return null;
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

/** Threads that want a core and cannot have one: how busy the cores are does not tell. */
function oversubscribed({ cores }: Overview, { samples }: Present): Finding | null {
  if (!samples.every((sample) => sample.runnable > cores.budget * 1.5)) return null;
  const threads = Math.round(mean(samples, (sample) => sample.runnable));
  const isLibrary = threads > samples.at(-1)!.running * 1.5;
  return {
    id: "oversubscribed",
    title: "More threads compute than there are cores",
    why: `${count(threads)} threads of this program and its workers want a core, and the budget is ${cores.budget}: ${isLibrary ? "a library runs threads of its own inside tasks" : "more tasks run at a time than that"}.`,
    remedy: isLibrary ? "Limit the library's threads in tasks, for example by threadpoolctl, or use fewer workers." : "Run fewer at a time.",
  };
}
