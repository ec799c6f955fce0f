// What the tabs of this browser tell each other.

/** null: the browser has no such thing, and each tab is alone. */
export function tabsChannel(name: string): BroadcastChannel | null {
  return "BroadcastChannel" in window ? new BroadcastChannel(`msaas.${name}`) : null;
}
