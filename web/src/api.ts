// What the server says, as `crates/dashboard/src/view` has it. Times are seconds since the origin, sizes bytes.

export interface Overview {
  next: number;
  resumed: boolean;
  at_s: number;
  origin_unix_ms: number;
  ended: boolean;
  tasks: TaskCounts;
  tasks_per_s: number;
  whole: { lasted_s: number; tasks_per_s: number; cores_busy: number | null; program_cores_busy: number | null; processes: number; thread_pools: number; event_loops: number };
  cores: { busy: number; taken: number; budget: number; machine: number | null };
  memory: {
    whole_bytes: number;
    whole_peak_bytes: number;
    limit_bytes: number | null;
    used_bytes: number;
    peak_bytes: number;
    budget_bytes: number;
    spilled_bytes: number;
    spills: number;
    objects: number;
  };
  workers: { up: number; idle: number; processes: number; processes_idle: number; thread_pools: number; event_loops: number; starting: number; died: number };
  groups: Group[];
  groups_more: number;
  total: Total;
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

/** What all functions took together. */
export interface Total {
  ran_s: number;
  bytes: number;
}

export interface Group {
  group: number;
  /** With the module, if functions of other modules have the same name. */
  name: string;
  module: string | null;
  submitted: number;
  finished: number;
  failed: number;
  dropped: number;
  retried: number;
  total_s: number;
  waited_s: number;
  ran_s: [number, number, number, number, number] | null;
  load_s: number;
  first_load_s: number;
  first_loads: number;
  store_s: number;
  mostly_moving: number;
  running_s: number | null;
  on_threads: boolean;
  bytes_total: number;
  bytes: [number, number, number, number, number] | null;
  queued_median_s: number | null;
  seen: number;
}

export interface Sample {
  at_s: number;
  ended: number;
  failed: number;
  waiting: number;
  ready: number;
  backoff: number;
  ahead: number;
  running: number;
  blocked: number;
  memory_bytes: number;
  spilled_bytes: number;
  whole_bytes: number;
  cpu_s: number;
  program_cpu_s: number;
  runnable: number;
  computing: number;
  idle_s: number | null;
  on_threads: number;
  cores: number;
  took_s: number;
}

export interface Timeline {
  from_s: number;
  to_s: number;
  at_s: number;
  whole_s: [number, number];
  column_s: number;
  lanes: Lane[];
  lane: number;
  lanes_total: number;
  lanes_ran: number;
  took_s: number;
  ran_s: number;
  groups: GroupShare[];
  groups_more: number;
  bars_dropped: number;
  bars_missing: number;
}

export interface GroupShare {
  group: number;
  name: string;
  count: number;
  failed: number;
  lost: number;
  lost_s: number;
  ran_s: number;
  waited_s: number;
  moved_s: number;
  longest_s: number;
}

export interface Lane {
  worker: number;
  lane: number;
  label: string;
  up_s: number;
  down_s: number | null;
  ran_s: number;
  dropped: number;
  bars: Bar[];
  cells: Cell[];
}

export interface Bar extends Phases {
  task: number;
  group: number;
  start_s: number;
  end_s: number | null;
  failed: boolean;
  /** When its call waited for other tasks, as far as that is kept: beginnings and ends. */
  waits_s?: [number, number][];
}

/** What an attempt took beside its call: at its beginning, at its end, and somewhere between, to wait for other tasks. */
export interface Phases {
  load_s: number;
  store_s: number;
  spilled: boolean;
  waited_s: number;
}

export interface Cell {
  start_s: number;
  group: number;
  count: number;
  busy: number;
  failed: number;
}

export interface Scatter {
  from_s: number;
  to_s: number;
  ran_s: [number, number] | null;
  count: number;
  dots: Dot[];
}

export interface Dot {
  start_s: number;
  ran_s: number;
  group: number;
  count: number;
  failed: number;
  task: number;
}

export interface GroupPage {
  rows: Group[];
  found: number;
  total: Total;
}

export interface TaskPage {
  rows: Task[];
  found: number;
  listed: number;
  unlisted: number;
}

export interface Task {
  task: number;
  group: number;
  name: string;
  state: string;
  attempts: number;
  worker: number | null;
  submitted_s: number | null;
  ready_s: number | null;
  assigned_s: number | null;
  ended_s: number | null;
  ran_s: number | null;
  load_s: number | null;
  store_s: number | null;
  bytes: number | null;
  queued_s: number | null;
}

export interface TaskDetail extends Task {
  explanation: string;
  /** The program itself runs it, on a thread or an event loop. */
  is_local: boolean;
  output: string;
  /** Some of it may be another task's. */
  output_is_guess: boolean;
  /** What tasks printed that is not kept any more, if something of this one may be among it. */
  output_dropped: OutputDropped | null;
  history: Attempt[];
  tracebacks: Traceback[];
  arguments: Traceback[];
  deaths: Death[];
}

export interface OutputDropped {
  bytes: number;
  until_s: number;
}

export interface Attempt extends Phases {
  worker: number;
  start_s: number;
  took_s: number;
  end: "finished" | "failed" | "running";
}

export interface Traceback {
  attempt: number;
  text: string;
}

export interface GraphView {
  nodes: GraphNode[];
  links: GraphLink[];
  path: GraphPath;
  total_s: number;
  groups_apart: number;
  edges: number;
  edges_dropped: number;
  edges_unlinked: number;
  events_missed: number;
}

export interface GraphNode {
  group: number | null;
  task: number | null;
  name: string;
  groups: number;
  state: string | null;
  submitted: number;
  finished: number;
  failed: number;
  ran_s: number;
  expanded: boolean;
  within: number;
  path_tasks: number;
  path_s: number;
}

export interface GraphLink {
  from: number;
  to: number;
  count: number;
  on_path: boolean;
}

export interface GraphPath {
  tasks: number;
  ran_s: number;
  is_cut: boolean;
  steps: GraphStep[];
  steps_more: number;
  alone: GraphStep | null;
}

export interface GraphStep {
  group: number;
  name: string;
  task: number;
  tasks: number;
  ran_s: number;
}

export interface WorkerList {
  at_s: number;
  program: Process | null;
  workers: Worker[];
  gone_more: number;
  gone_more_spilled_bytes: number;
  program_wrote: Written;
  deaths: Death[];
  deaths_more: number;
  pools: Pool[];
  pools_more: number;
  pools_more_restarts: number;
}

/** A pool of worker processes. */
export interface Pool {
  pool: number;
  number: number;
  name: string;
  is_open: boolean;
  workers: number;
  places: number;
  started: number;
  restarts: number;
  died: number;
  ended: number;
  retired: number;
}

/** Where a worker process is among those of its pool. */
export interface Place {
  number: number;
  attempt: number;
  after: number | null;
  after_left: Left | null;
}

export type Left = "died" | "ended" | "retired" | "never started" | "not needed";

export interface Process {
  pid: number;
  cores: number | null;
  cpu_s: number;
  resident_bytes: number;
  peak_bytes: number;
}

export interface Worker {
  worker: number;
  pool: number | null;
  place: Place | null;
  left: Left | null;
  kind: "process" | "threads" | "event-loop";
  slots: number;
  pid: number | null;
  process: Process | null;
  peak_bytes: number | null;
  objects: number;
  object_bytes: number;
  object_disk_bytes: number;
  wrote: Written;
  up_s: number;
  down_s: number | null;
  attempts: number;
  busy_s: number;
  running: Running[];
  running_more: number;
  ahead: number;
}

/** Objects in shared memory that somebody wrote. */
export interface Written {
  objects: number;
  bytes: number;
  disk_bytes: number;
  spilled_bytes: number;
}

export interface Running {
  task: number;
  group: number;
  name: string;
  for_s: number;
  waits: boolean;
  turn_s: number | null;
  stack: string | null;
}

export interface Death {
  at_s: number;
  worker: number;
  pid: number;
  task: number | null;
  name: string;
  signal: number | null;
  exit_code: number | null;
  peak_bytes: number | null;
  oom_killed: boolean;
  stack: string | null;
}

export interface ProfileTree {
  stacks: number;
  every_s: number;
  took_s: number;
  frames: Frame[];
  frames_more: number;
  dropped: number;
  cut: number;
  groups: { group: number; name: string; stacks: number }[];
}

export interface Frame {
  name: string;
  parent: number;
  stacks: number;
  all_ms: number;
  own_ms: number;
}
