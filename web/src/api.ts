// What the server says, as `crates/dashboard/src/view` has it. Times are seconds since the origin, sizes bytes.

export interface Overview {
  next: number;
  resumed: boolean;
  at_s: number;
  origin_unix_ms: number;
  ended: boolean;
  tasks: TaskCounts;
  tasks_per_s: number;
  cores: { busy: number; taken: number; budget: number };
  memory: {
    used_bytes: number;
    peak_bytes: number;
    budget_bytes: number;
    spilled_bytes: number;
    spills: number;
    objects: number;
  };
  workers: { up: number; idle: number; starting: number; died: number };
  groups: Group[];
  groups_more: number;
  beyond: { events_missed: number; tasks_unlisted: number; bars_dropped: number; bars_missing: number };
  samples: Sample[];
}

export interface TaskCounts {
  submitted: number;
  waiting: number;
  ready: number;
  backoff: number;
  ahead: number;
  running: number;
  blocked: number;
  finished: number;
  failed: number;
  dropped: number;
  retried: number;
}

export interface Group {
  group: number;
  name: string;
  submitted: number;
  finished: number;
  failed: number;
  retried: number;
  total_s: number;
  ran_s: [number, number, number, number, number] | null;
  queued_median_s: number | null;
  seen: number;
}

export interface Sample {
  at_s: number;
  ended: number;
  failed: number;
  waiting: number;
  ready: number;
  ahead: number;
  running: number;
  memory_bytes: number;
  spilled_bytes: number;
  cpu_s: number;
}

/** The whole run, in as many samples as the server keeps of it. */
export async function wholeRun(): Promise<Sample[]> {
  const answer = await fetch("/api/run");
  if (!answer.ok) throw new Error(`/api/run: ${answer.status}`);
  return answer.json();
}
