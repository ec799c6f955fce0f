// Icons, drawn in the colour of the text around them; all are ornaments beside a label.

const paths = {
  close: "M4 4l8 8M12 4l-8 8",
  trash: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5M6.8 7v3.8M9.2 7v3.8",
  back: "M10 3.5L5.5 8l4.5 4.5",
  pause: "M5.5 4v8M10.5 4v8",
  play: "M5.5 3.8v8.4L12 8z",
  download: "M8 2.5v7.5M4.5 7L8 10.5 11.5 7M3 13.5h10",
  again: "M12.5 8a4.5 4.5 0 1 1-1.4-3.3M12.5 2.5v2.7H9.8",
};

export function Icon(props: { name: keyof typeof paths }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={paths[props.name]} />
    </svg>
  );
}
