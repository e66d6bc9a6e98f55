// A table with a head: one row for each thing, one column for each thing that is said of it.

import type { ComponentChildren } from "preact";

/** One column. The first one of a table names the row. */
export interface Column<Row> {
  name: string;
  /** What is in it, where the name does not say it all. */
  hint?: string;
  cell: (row: Row) => ComponentChildren;
  /** Numbers are on the right, text is on the left. */
  left?: boolean;
  /** A further class of the cells. */
  look?: (row: Row) => string;
  /** What a cell says when it is pointed at. */
  title?: (row: Row) => string | undefined;
  /** How many columns the cell takes of a row that has nothing for those behind it. */
  span?: (row: Row) => number;
}

interface TableProps<Row> {
  /** The id of its heading. */
  label: string;
  columns: Column<Row>[];
  rows: Row[];
  /** What tells a row from the others. */
  id: (row: Row) => string | number;
}

export function Table<Row>({ label, columns, rows, id }: TableProps<Row>) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-labelledby={label}>
      <table>
        <thead>
          <tr>
            {columns.map(({ name, hint, left }) => (
              <th key={name} scope="col" title={hint} class={left ? "left" : undefined}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={id(row)}>{cells(columns, row)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function cells<Row>([first, ...others]: Column<Row>[], row: Row) {
  let taken = 0;
  return [
    <th key={first!.name} scope="row" title={first!.title?.(row)}>
      {first!.cell(row)}
    </th>,
    ...others.map(({ name, cell, left, look, title, span }) => {
      if (taken > 0) {
        taken--;
        return null;
      }
      const columns = span?.(row) ?? 1;
      taken = columns - 1;
      return (
        <td key={name} class={[left && "left", look?.(row)].filter(Boolean).join(" ")} title={title?.(row)} colSpan={columns > 1 ? columns : undefined}>
          {cell(row)}
        </td>
      );
    }),
  ];
}
