/*
 * The planner's time, as far as this page can tell: its clock may be set differently from the browser's, and in a demo
 * it runs faster. An answer says when it was true, which is a while before it arrives, so of all answers the one that
 * puts the planner's clock furthest ahead is the closest.
 */
let ahead_s = null;
let started_s = null;

export function heard(head) {
  const ahead = head.now_s - Date.now() / 1e3;
  ahead_s = ahead_s === null || head.started_s !== started_s ? ahead : Math.max(ahead_s, ahead);
  started_s = head.started_s;
}

export function now_s() {
  return Date.now() / 1e3 + (ahead_s ?? 0);
}
