import { percent } from "./time";

/** A bar; `value` null: it goes on, nobody knows how far. */
export function Progress(props: { value: number | null; label: string; testid?: string }) {
  const known = props.value !== null;
  const now = percent(props.value ?? 0);
  return (
    <div
      class={known ? "progress" : "progress unknown"}
      role="progressbar"
      aria-label={props.label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={known ? now : undefined}
      data-testid={props.testid}
    >
      <div class="progress-bar" style={known ? { transform: `scaleX(${props.value})` } : {}} />
    </div>
  );
}
