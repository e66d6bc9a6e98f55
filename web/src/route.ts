// Which page is shown and with what: `#/tasks?group=3`. A link to it can be kept, and Back goes back.

import { useEffect, useState } from "preact/hooks";

export interface Route {
  page: string;
  params: URLSearchParams;
}

export function route(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { page: path || "overview", params: new URLSearchParams(query) };
}

export function useRoute(): Route {
  const [now, setNow] = useState(route);
  useEffect(() => {
    const changed = () => setNow(route());
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return now;
}

/** The address of the page that is shown with some things changed; null takes one away. */
export function link(changes: Record<string, string | number | null>, page?: string): string {
  const now = route();
  const params = page && page !== now.page ? new URLSearchParams() : new URLSearchParams(now.params);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") params.delete(name);
    else params.set(name, String(value));
  }
  const query = params.toString();
  return `#/${page ?? now.page}${query ? "?" + query : ""}`;
}

export function go(changes: Record<string, string | number | null>, page?: string): void {
  location.hash = link(changes, page).slice(1);
}
