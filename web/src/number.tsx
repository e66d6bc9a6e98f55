// One number of those at the top of a page.

export function NumberCard({ name, value, more, bad, title }: { name: string; value: string; more: string; bad?: boolean; title?: string }) {
  return (
    <div class={bad ? "card bad" : "card"} title={title}>
      <dt>{name}</dt>
      <dd>
        <b>{value}</b> <span>{more}</span>
      </dd>
    </div>
  );
}
