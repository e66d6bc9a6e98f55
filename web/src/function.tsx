// The column that says which function a row is about.

import { colour } from "./palette";
import { link } from "./route";
import type { Column } from "./table";

interface OfFunction {
  group: number;
  name: string;
}

interface Options<Row> {
  /** Whether its name leads to its tasks. */
  isLink?: boolean;
  title?: (row: Row) => string;
}

/** A dot in the function's colour, and its name. */
export function functionColumn<Row extends OfFunction>({ isLink = false, title = ({ name }) => name }: Options<Row> = {}): Column<Row> {
  return {
    name: "function",
    title,
    cell: ({ group, name }) => (
      <>
        <i class="dot" style={{ background: colour(group) }} />
        {isLink ? <a href={link({ group }, "tasks")}>{name}</a> : name}
      </>
    ),
  };
}
