// Functions: how many of their tasks there are, and how long these ran.

import type { Group, Total } from "./api";
import { bytes, count, duration, percent } from "./format";
import { functionColumn } from "./function";
import { Table, type Column } from "./table";

/** What is shown of them: the time that they ran, or the bytes of their results. */
export type What = "time" | "bytes";

/** Imports that take less are not worth a word. */
const IMPORT_S = 0.05;

const QUARTILE = "As counted in classes of size: within a sixteenth of the true value. The least and the most are exact";

/** The share is that of the whole run, whichever rows are shown. */
export function GroupTable({ groups, total, label, what = "time" }: { groups: Group[]; total: Total; label: string; what?: What }) {
  const all = what === "time" ? total.ran_s : total.bytes;
  const columns = [...BEGINNING, ...(what === "time" ? timeColumns(all) : bytesColumns(all)), ...quartiles(what), QUEUED];
  return <Table label={label} columns={columns} rows={groups} id={(group) => group.group} />;
}

const BEGINNING: Column<Group>[] = [
  functionColumn({ isLink: true, title: inFull }),
  {
    name: "done",
    cell: ({ finished, submitted, dropped }) => (
      <>
        {count(finished)} / {count(submitted)}
        {dropped > 0 && (
          <span class="dim" title="Cancelled, or in need of a task that has no result">
            , {count(dropped)} dropped
          </span>
        )}
        <meter value={submitted > 0 ? finished / submitted : 0} aria-label="done" />
      </>
    ),
  },
  { name: "failed", look: ({ failed }) => (failed > 0 ? "bad" : ""), cell: ({ failed }) => failed > 0 && count(failed) },
];

const QUEUED: Column<Group> = {
  name: "queued",
  hint: "Half of its tasks waited for a worker no longer than this, within a sixteenth",
  cell: ({ queued_median_s }) => queued_median_s !== null && duration(queued_median_s),
};

function timeColumns(all: number): Column<Group>[] {
  return [
    {
      name: "ran",
      hint: "Time in all that the calls ran, without loading arguments, storing results and waiting for calls of their own",
      cell: ({ total_s, waited_s }) => (
        <>
          {duration(total_s)}
          {waited_s >= 0.01 && <small title={`Its tasks waited ${duration(waited_s)} in all for other tasks, which is no part of how long they ran`}>and waits</small>}
        </>
      ),
    },
    { name: "share", hint: "Of the time that all tasks of the run took together to run", cell: ({ total_s }) => percent(all > 0 ? total_s / all : 0) },
    {
      name: "load",
      hint: "Time in all to load functions and arguments in worker processes, modules that these import included",
      cell: (group) => (
        <>
          {group.load_s > 0 && duration(group.load_s)}
          {isImport(group) && <small title={`The first task in each of ${count(group.first_loads)} workers took ${duration(group.first_load_s / group.first_loads)} of it`}>imports</small>}
        </>
      ),
    },
    { name: "store", hint: "Time in all to store results where others find them", cell: ({ store_s }) => store_s > 0 && duration(store_s) },
  ];
}

function bytesColumns(all: number): Column<Group>[] {
  return [
    { name: "results", hint: "Bytes of all results", cell: ({ bytes_total }) => bytes(bytes_total) },
    { name: "share", hint: "Of the results of the whole run", cell: ({ bytes_total }) => percent(all > 0 ? bytes_total / all : 0) },
  ];
}

/** The least, the quartiles and the most, or in their place why they are not known. */
function quartiles(what: What): Column<Group>[] {
  const [text, none] = what === "time" ? [duration, "no run has been seen to its end"] : [bytes, "no result has left its process"];
  const of = (group: Group) => (what === "time" ? group.ran_s : group.bytes);
  return ["least", "25 %", "median", "75 %", "most"].map((name, place) => ({
    name,
    hint: name === "least" || name === "most" ? undefined : QUARTILE,
    span: (group) => (of(group) ? 1 : 5),
    cell: (group) => {
      const known = of(group);
      return known ? text(known[place]!) : none;
    },
  }));
}

/** Whether most of its loading is that of the first task in each worker: modules, which are imported once. */
export function isImport({ seen, load_s, first_load_s, first_loads }: Group): boolean {
  const others = seen - first_loads;
  if (first_loads === 0 || others <= 0 || first_load_s < IMPORT_S * first_loads) return false;
  return first_load_s / first_loads > 5 * ((load_s - first_load_s) / others);
}

/** The name of a function with its module, if that is known. */
function inFull({ name, module }: Group): string {
  return module === null || name.startsWith(`${module}.`) ? name : `${module}.${name}`;
}
