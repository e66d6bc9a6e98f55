// Why cores have nothing to do although there is a program to run: each reason with its own evidence, none of which a program
// has that is over, or that nobody has asked for anything.

import type { Finding } from "./advice";
import type { Overview, Sample } from "./api";
import { count, duration, number, percent } from "./format";
import type { Present } from "./present";

/** Of the tasks that run, how many are busy, so that they are said to compute. */
const COMPUTES = 0.7;

export function idle(overview: Overview, now: Present): Finding | null {
  if (overview.cores.budget < 2) return null;
  for (const find of [dependent, narrow, apart, serial, last]) {
    const found = find(overview, now);
    if (found) return found;
  }
  return null;
}

/** Tasks that have not ended. */
function open({ waiting, ready, backoff, ahead, running, blocked }: Sample): number {
  return waiting + ready + backoff + ahead + running + blocked;
}

/** Cores without a task, in all of the samples. */
function unused({ cores }: Overview, samples: Sample[]): number {
  return cores.budget - Math.max(...samples.map((sample) => sample.cores));
}

/** Tasks need the results of others. */
function dependent(overview: Overview, { samples }: Present): Finding | null {
  const { budget } = overview.cores;
  const waits = ({ ready, backoff, running, waiting, cores }: Sample) => ready === 0 && backoff === 0 && running > 0 && waiting > 0 && cores < budget;
  if (!samples.every(waits)) return null;
  const { waiting, running } = samples.at(-1)!;
  return {
    id: "idle",
    title: "Cores are idle because tasks wait for other tasks",
    why: `${count(unused(overview, samples))} of ${count(budget)} cores have no task, while ${number(waiting, "task waits", "tasks wait")} for the results of ${count(running)} that run.`,
    remedy: "Split the tasks that the others wait for, or submit independent work beside them.",
  };
}

/** Every worker computes and tasks wait, but there are more cores than workers. Not where memory is short, or tasks take more than a core. */
function narrow(overview: Overview, { samples, busy, free }: Present): Finding | null {
  const { cores, memory, workers } = overview;
  const running = samples.map((sample) => sample.running);
  const [least, most] = [Math.min(...running), Math.max(...running)];
  const waits = (sample: Sample) => sample.ready + sample.ahead > 0 && sample.on_threads === 0 && sample.cores < cores.budget && sample.cores <= sample.running;
  const isShort = samples.some((sample) => sample.spilled_bytes > 0 || sample.memory_bytes > memory.budget_bytes * 0.8);
  if (least === 0 || least !== most || !samples.every(waits) || isShort || workers.starting > 0) return null;
  if (busy < most * COMPUTES || free === null || free < 0.5) return null;
  const { ready, ahead } = samples.at(-1)!;
  return {
    id: "narrow",
    title: "Cores are idle because the pool is smaller",
    why: `${number(ready + ahead, "task waits", "tasks wait")} for ${number(most, "worker")} that ${most === 1 ? "is" : "are"} busy, while ${count(unused(overview, samples))} of ${count(cores.budget)} cores have no task.`,
    remedy: `Give the pool ${count(cores.budget)} workers, or leave their number to Lineshaft.`,
  };
}

/** The program itself computes, and submits nothing for so long: again and again, or it would simply have no more to submit. */
function apart(_: Overview, { recent }: Present): Finding | null {
  let [idle_s, cpu_s, bursts, longest_s] = [0, 0, 0, 0];
  const gap = { idle_s: 0, cpu_s: 0 };
  for (let at = 1; at < recent.length; at++) {
    const [before, after] = [recent[at - 1]!, recent[at]!];
    if (open(before) === 0 && after.ended + open(after) === before.ended) {
      gap.idle_s += after.at_s - before.at_s;
      gap.cpu_s += after.program_cpu_s - before.program_cpu_s;
      continue;
    }
    // What was before the first of them, or is after the last, is no time between calls.
    if (bursts > 0) {
      idle_s += gap.idle_s;
      cpu_s += gap.cpu_s;
      longest_s = Math.max(longest_s, gap.idle_s);
    }
    if (gap.idle_s > 0 || bursts === 0) bursts++;
    gap.idle_s = gap.cpu_s = 0;
  }
  const lasted_s = recent.at(-1)!.at_s - recent[0]!.at_s;
  if (bursts < 3 || idle_s < lasted_s * 0.3 || cpu_s < idle_s * COMPUTES) return null;
  // It is over, or has no more to submit.
  if (gap.idle_s > Math.max(1, longest_s * 2)) return null;
  return {
    id: "apart",
    title: "Workers are idle while the program computes",
    why: `For ${percent(idle_s / lasted_s)} of the last ${duration(lasted_s)} no task was there, and the program itself kept ${(cpu_s / idle_s).toFixed(2)} cores busy between its calls.`,
    remedy: "Make tasks of that work too, or submit the next ones before it.",
  };
}

/** One call at a time is there, again and again. */
function serial(overview: Overview, { samples, recent, program }: Present): Finding | null {
  const since = recent.slice(recent.map((sample) => open(sample) > 1).lastIndexOf(true) + 1);
  const runs = (some: Sample[]) => some.filter((sample) => sample.running === 1).length / some.length;
  if (since.length < samples.length || Math.min(runs(since), runs(samples)) < 0.6) return null;
  const [first, end] = [since[0]!, since.at(-1)!];
  if (end.ended - first.ended < 3) return null;
  // Again and again: many that ended between two samples were there together, or nobody knows.
  const ends = since.filter((sample, at) => at > 0 && sample.ended > since[at - 1]!.ended).length;
  if (ends < 3) return null;
  // The program takes its time to make the next one.
  if (program > 0.3 && since.every((sample) => sample.on_threads === 0)) return null;
  return {
    id: "serial",
    title: "Workers are idle because one call is submitted at a time",
    why: `In the last ${duration(end.at_s - first.at_s)} ${count(end.ended - first.ended)} tasks ran, each of which was submitted when the one before had ended; ${count(unused(overview, since))} of ${count(overview.cores.budget)} cores had none.`,
    remedy: "Submit several calls before waiting for the first, or use map.",
  };
}

/** A few tasks are left, and compute for long while nothing else is there. */
function last(overview: Overview, { samples, busy }: Present): Finding | null {
  const { cores, groups } = overview;
  const { running, ended } = samples[0]!;
  const isLeft = (sample: Sample) => sample.running === running && open(sample) === running && sample.ended === ended && sample.cores < cores.budget;
  if (running === 0 || running > cores.budget / 2 || !samples.every(isLeft)) return null;
  // They sleep, or have threads of their own for the other cores.
  if (busy < running * COMPUTES || busy > cores.budget - 0.5) return null;
  const longest = groups.filter((group) => group.running_s !== null).sort((one, other) => other.running_s! - one.running_s!)[0];
  const since = longest ? `, one of ${longest.name} for ${duration(longest.running_s!)}` : "";
  return {
    id: "last",
    title: `Cores are idle because only ${number(running, "task")} ${running === 1 ? "is" : "are"} left`,
    why: `${number(running, "task runs", "tasks run")}${since}, and ${count(unused(overview, samples))} of ${count(cores.budget)} cores have none.`,
    remedy: "Divide it into several calls, start it before the others, or submit other work beside it.",
  };
}
