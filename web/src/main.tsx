import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import type { Overview } from "./api";
import { ask } from "./ask";
import { duration } from "./format";
import { GraphPage } from "./graph/page";
import { connect, NOTHING, type Link, type Live } from "./live";
import { OverviewPage } from "./overview";
import { ProfilePage } from "./profile/page";
import { useRoute } from "./route";
import { TaskDrawer } from "./tasks/drawer";
import { TasksPage } from "./tasks/page";
import { TimelinePage } from "./timeline/page";
import { WorkersPage } from "./workers";

type Page = (props: { live: Live; overview: Overview }) => preact.JSX.Element;

const PAGES: [string, string, Page][] = [
  ["overview", "Overview", OverviewPage],
  ["timeline", "Timeline", TimelinePage],
  ["tasks", "Tasks", TasksPage],
  ["graph", "Graph", GraphPage],
  ["workers", "Workers", WorkersPage],
  ["profile", "Profile", ProfilePage],
];

function App() {
  const [live, setLive] = useState<Live>(NOTHING);
  useEffect(() => connect(setLive), []);
  const { page, params } = useRoute();
  const task = params.get("task");
  const { overview } = live;
  const [name, title, Page] = PAGES.find(([name]) => name === page) ?? PAGES[0]!;
  useEffect(() => {
    document.title = `${title} · Lineshaft`;
  }, [title]);
  return (
    <>
      <header>
        <h1>Lineshaft</h1>
        <nav aria-label="Pages">
          {PAGES.map(([path, title]) => (
            <a key={path} href={`#/${path}`} aria-current={path === name ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <Status live={live} />
      </header>
      <main>
        {live.silent_s > 0 && (
          <p class="note silent">
            The program has not answered for {live.silent_s} s: it may be stopped, or its machine asleep.{overview && " What is shown is how it was."}
          </p>
        )}
        {overview ? (
          <Page live={live} overview={overview} />
        ) : (
          <p class="empty">Connecting to the program. If it has ended, there is nothing to connect to.</p>
        )}
      </main>
      {overview && task !== null && <TaskDrawer key={task} task={task} live={live} />}
    </>
  );
}

const LINKS: Record<Link, string> = {
  connecting: "connecting",
  live: "live",
  silent: "no answer",
  lost: "connection lost: this is how it was; trying again",
  ended: "the engine has ended",
  report: "report of a run that is over",
  excerpt: "report of a run that went on",
};

function Status({ live }: { live: Live }) {
  const { overview } = live;
  return (
    <p class="status" role="status">
      <i class={live.link} />
      {LINKS[live.link]}
      {overview && (
        <span>
          started {new Date(overview.origin_unix_ms).toLocaleString()}, last change {duration(Math.max(0, overview.at_s))} later
        </span>
      )}
    </p>
  );
}

// For the console, and for programs that read a page: the same questions, with or without a server.
Object.assign(window, { lineshaft: { ask } });

render(<App />, document.getElementById("app")!);
