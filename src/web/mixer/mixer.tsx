import type { Job } from "../api/types";

export function Mixer(props: { job: Job }) {
  return <div data-testid="mixer">{props.job.stems.map((stem) => stem.name).join(", ")}</div>;
}
