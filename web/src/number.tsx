// One number of those at the top of a page.

export function NumberCard({ name, value, more, bad }: { name: string; value: string; more: string; bad?: boolean }) {
  return (
    <div class={bad ? "card bad" : "card"}>
      <dt>{name}</dt>
      <dd>
        <b>{value}</b> <span>{more}</span>
      </dd>
    </div>
  );
}
