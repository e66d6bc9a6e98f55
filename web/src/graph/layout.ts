// Where the nodes of a graph lie: in columns, so that links go from left to right, in an order in which few of them cross.

export const NODE_WIDTH = 160;
const GAP = { x: 42, y: 10 };
const MARGIN = 12;
const SWEEPS = 6;

export interface Link {
  from: number;
  to: number;
}

/** The upper left corner of a node, and how high it is. */
export interface Place {
  x: number;
  y: number;
  height: number;
}

export interface Layout {
  places: Place[];
  width: number;
  height: number;
}

export function layout(heights: number[], links: Link[]): Layout {
  const forward = withoutCycles(heights.length, links);
  const columns = order(columnsOf(heights.length, forward), forward);
  const stacked = (column: number[]) => column.reduce((sum, node) => sum + heights[node]! + GAP.y, -GAP.y);
  const height = Math.max(0, ...columns.map(stacked)) + 2 * MARGIN;
  const places = new Array<Place>(heights.length);
  columns.forEach((column, number) => {
    let y = (height - stacked(column)) / 2;
    for (const node of column) {
      places[node] = { x: MARGIN + number * (NODE_WIDTH + GAP.x), y, height: heights[node]! };
      y += heights[node]! + GAP.y;
    }
  });
  return { places, width: 2 * MARGIN + Math.max(1, columns.length) * (NODE_WIDTH + GAP.x) - GAP.x, height };
}

/** The links but those that lead back to where they come from: functions may call for each other in turn. */
function withoutCycles(count: number, links: Link[]): Link[] {
  const from: Link[][] = Array.from({ length: count }, () => []);
  const entered = new Array<number>(count).fill(0);
  for (const link of links) {
    from[link.from]!.push(link);
    entered[link.to]!++;
  }
  const [NEW, OPEN, DONE] = [0, 1, 2];
  const state = new Array<number>(count).fill(NEW);
  const forward: Link[] = [];
  // Those that need nothing first, so that a cycle is cut where one comes into it.
  const starts = [...entered.keys()].sort((one, other) => entered[one]! - entered[other]! || one - other);
  for (const start of starts) {
    if (state[start] !== NEW) continue;
    const stack = [{ node: start, next: 0 }];
    state[start] = OPEN;
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const link = from[top.node]![top.next++];
      if (!link) {
        state[top.node] = DONE;
        stack.pop();
      } else if (state[link.to] !== OPEN) {
        forward.push(link);
        if (state[link.to] === NEW) {
          state[link.to] = OPEN;
          stack.push({ node: link.to, next: 0 });
        }
      }
    }
  }
  return forward;
}

/** Each node in the first column that lies behind all that it needs. */
function columnsOf(count: number, links: Link[]): number[][] {
  const missing = new Array<number>(count).fill(0);
  const dependents: number[][] = Array.from({ length: count }, () => []);
  for (const { from, to } of links) {
    missing[to]!++;
    dependents[from]!.push(to);
  }
  const column = new Array<number>(count).fill(0);
  const free = [...missing.keys()].filter((node) => missing[node] === 0);
  for (const node of free) {
    for (const dependent of dependents[node]!) {
      column[dependent] = Math.max(column[dependent]!, column[node]! + 1);
      if (--missing[dependent]! === 0) free.push(dependent);
    }
  }
  const columns: number[][] = [];
  column.forEach((number, node) => (columns[number] ??= []).push(node));
  return columns;
}

/** Sorts each column by where the neighbours of its nodes lie, back and forth. */
function order(columns: number[][], links: Link[]): number[][] {
  const height = new Map<number, number>();
  const neighbours = new Map<number, { before: number[]; behind: number[] }>();
  const settle = (column: number[]) => column.forEach((node, place) => height.set(node, place - column.length / 2));
  for (const column of columns) {
    settle(column);
    for (const node of column) neighbours.set(node, { before: [], behind: [] });
  }
  for (const { from, to } of links) {
    neighbours.get(from)!.behind.push(to);
    neighbours.get(to)!.before.push(from);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const side = sweep % 2 === 0 ? "before" : "behind";
    for (const column of side === "before" ? columns : [...columns].reverse()) {
      const wish = new Map(column.map((node) => [node, mean(neighbours.get(node)![side], height) ?? height.get(node)!]));
      column.sort((one, other) => wish.get(one)! - wish.get(other)! || one - other);
      settle(column);
    }
  }
  return columns;
}

function mean(nodes: number[], height: Map<number, number>): number | null {
  return nodes.length === 0 ? null : nodes.reduce((sum, node) => sum + height.get(node)!, 0) / nodes.length;
}

/** The curve from one node to another. */
export function curve(from: Place, to: Place): string {
  const [x1, y1] = [from.x + NODE_WIDTH, from.y + from.height / 2];
  const [x2, y2] = [to.x, to.y + to.height / 2];
  const bend = x2 > x1 ? (x2 - x1) / 2 : GAP.x;
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}
