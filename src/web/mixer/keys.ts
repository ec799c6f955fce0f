// Which key does what in the mixer.

export type Action =
  | { do: "toggle" | "loop" | "loop-in" | "loop-out" }
  | { do: "seek-by"; seconds: number }
  | { do: "solo" | "mute"; index: number };

export interface Key {
  key: string;
  code: string;
  shiftKey: boolean;
  ctrlKey: boolean;
  altKey: boolean;
  metaKey: boolean;
}

/** What has the focus, as far as it has keys of its own. */
export type Focus = "text" | "slider" | "button" | "other";

/** What a key means; null: nothing to the mixer. What the focused element needs stays its own. */
export function actionOf(key: Key, focus: Focus): Action | null {
  if (key.ctrlKey || key.altKey || key.metaKey || focus === "text") return null;
  const digit = /^Digit([1-9])$/.exec(key.code);
  if (digit) return { do: key.shiftKey ? "mute" : "solo", index: Number(digit[1]) - 1 };
  switch (key.key) {
    case " ":
      return focus === "button" ? null : { do: "toggle" };
    case "ArrowLeft":
    case "ArrowRight": {
      if (focus === "slider") return null;
      const step = key.shiftKey ? 1 : 5;
      return { do: "seek-by", seconds: key.key === "ArrowLeft" ? -step : step };
    }
  }
  switch (key.key.toLowerCase()) {
    case "i":
      return { do: "loop-in" };
    case "o":
      return { do: "loop-out" };
    case "l":
      return { do: "loop" };
  }
  return null;
}

/** onMouseDown of a button: the focus stays where it is, so that the space bar still plays after a
 * click. */
export function leaveFocus(event: MouseEvent): void {
  event.preventDefault();
}
