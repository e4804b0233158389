/* What is shown stands in the address, so that it can be sent to a colleague: #/service/NAME/TICK. */

export function href({ service = null, tick = null } = {}) {
  if (service === null) return "#/";
  const path = `#/service/${encodeURIComponent(service)}`;
  return tick === null ? path : `${path}/${tick}`;
}

/** The service and the decision that the address names; null where it names none. */
export function route() {
  let [, kind, service, tick] = location.hash.split("/");
  if (kind !== "service" || !service) return { service: null, tick: null };
  try {
    service = decodeURIComponent(service);
  } catch {
    // Half an escape, from an address cut short: the server will say that it knows no such service.
  }
  return { service, tick: /^\d+$/.test(tick ?? "") ? Number(tick) : null };
}
