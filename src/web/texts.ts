// Every text of the page, in English.

import type { Failure } from "./api/failure";
import type { Job } from "./api/types";
import { bytes, clock, moment, span } from "./ui/time";

const songs = (n: number) => (n === 1 ? "1 song" : `${n} songs`);

/** Codes of answers (docs/api.md, "Errors") that have a sentence of their own. */
const failures: Record<string, string> = {
  network: "The server does not answer.",
  unreadable_file:
    "The browser cannot read this file: it was moved or changed, or is a folder. Choose it anew.",
  unauthorized: "Log in to go on.",
  insufficient_scope: "Your token may not do this. Ask for one with “submit” and “read”.",
  foreign_origin: "The server takes this only from its own page. Reload the page.",
  not_audio: "There is no music in this file that the server understands.",
  empty_audio: "The file is empty.",
  too_large: "The file is too large.",
  too_costly: "The song is too long.",
  quota: "Your quota is used up.",
  too_many_requests: "Too many requests come from your address.",
  queue_full: "The queue is full.",
  queue_unavailable: "The queue cannot be reached.",
  store_unavailable: "The server's storage cannot be reached.",
  disk_full: "The server's storage is full.",
  no_memory: "The server is short of memory.",
  overloaded: "The server is busy.",
  starting: "The server is starting.",
  draining: "The server is about to stop.",
  canceling: "The same song is just being canceled.",
  request_timeout: "The connection is too slow.",
  upload_conflict: "The server still takes what was sent before.",
  upload_incomplete: "Not all of the file has arrived.",
  unknown_upload: "The server does not have the uploaded file any more. Send it again.",
  upload_expired: "The uploaded file was not used in time. Send it again.",
  unknown_model: "The server does not offer this model any more. Choose another one.",
  unknown_stem: "The model has no such stem. Choose others.",
  invalid_option: "The server does not take these options.",
  unknown_job: "The server does not know this song any more.",
  internal: "The server failed. Its log says how.",
  no_mixer: "The mixer could not be loaded. If that goes on, reload the page.",
};

/** Codes whose answer tells a figure that people want to know. */
const TOLD = new Set(["too_large", "too_costly", "quota", "invalid_option", "insufficient_scope"]);

/** Codes of jobs (docs/api.md, "Errors of jobs"): why one failed. */
const jobFailures: Record<string, string> = {
  input: "The file cannot be used",
  usage: "The options do not suit the model",
  model: "No worker can load the model",
  not_found: "The song is no longer on the server. Send it again",
  poison: "Three workers died of this song",
  network: "The storage could not be reached",
  io: "A worker's disk is full or fails",
  memory: "A worker is short of memory",
  denied: "The storage refuses the worker",
  corrupt: "The song on the server is damaged. Send it again",
  too_large: "The song is too long or too large",
  unsupported: "The worker's machine cannot do it",
  conflict: "The song changed on the server while it was used. Send it again",
  internal: "The separation failed through a fault of the server",
};

const stemNames: Record<string, string> = {
  drums: "Drums",
  bass: "Bass",
  other: "Other",
  vocals: "Vocals",
  guitar: "Guitar",
  piano: "Piano",
};

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function stem(name: string): string {
  if (name.startsWith("no_")) return `Without ${stem(name.slice(3)).toLowerCase()}`;
  return stemNames[name] ?? capital(name.replace(/_/g, " "));
}

function jobFailure(error: { code: string; message: string } | null): string {
  if (error === null) return "The separation failed.";
  const text = jobFailures[error.code] ?? "The separation failed";
  const reason = error.message.replace(/^song: /, "").replace(/[.\s]+$/, "");
  const tells = reason !== "" && (error.code === "input" || error.code === "too_large");
  return tells ? `${text}: it ${reason}.`.replace(": it it ", ": it ") : `${text}.`;
}

function failure(error: Failure): string {
  const text = failures[error.code] ?? `The server answered ${error.status}.`;
  if (!TOLD.has(error.code) || error.detail === "") return text;
  const detail = error.detail.replace(/(\d+) bytes/g, (_, n: string) => bytes(Number(n)));
  return `${text} ${capital(detail).replace(/\.$/, "")}.`;
}

export const texts = {
  title: "msaas",
  titleRunning: (progress: number) => `${Math.floor(progress * 100)} % · msaas`,
  unnamed: "Unnamed song",
  stem,
  failure,
  jobFailure,
  close: "Close",

  header: {
    name: "msaas",
    home: "msaas, to your songs",
    logout: "Log out",
    stays: (why: string) => `${why} You are still logged in: try again.`,
    uploading: (n: number) => `Sending ${songs(n)}`,
  },

  drop: {
    heading: "Take a song apart",
    lead: "Drop songs here",
    leadTouch: "Vocals, drums, bass and more, each on its own",
    choose: "Choose songs",
    formats: "Any format, several at once",
    over: "Let go to add them",
    added: (n: number) => `${songs(n)} added.`,
  },

  options: {
    heading: "Options",
    model: "Model",
    loading: "Loading…",
    noModels: "The models cannot be listed. The page tries again by itself.",
    mode: "Result",
    all: "Stems",
    karaoke: "Karaoke",
    stems: "Stems to keep",
    split: "Part to take out",
    format: "Format",
    formats: {
      mp3: "MP3",
      flac: "FLAC, lossless",
      wav: "WAV, lossless",
      m4a: "M4A (AAC)",
      opus: "Opus",
    },
  },

  songs: {
    heading: "Your songs",
    empty: "Your songs will be here.",
    eraseAll: "Erase all…",
    erasing: (done: number, all: number) => `Erasing ${done} of ${all}…`,
    more: "Show more",
    historyLost:
      "This browser keeps no data for this page, so your songs will not be listed after a reload.",
  },

  upload: {
    waiting: "It waits until the song before it is sent.",
    sending: (done: number, all: number) => `Sending ${bytes(done)} of ${bytes(all)}`,
    speed: (rate: number) => `${bytes(rate)}/s`,
    left: (s: number) => `${span(s)} left`,
    paused: (done: number, all: number) => `Paused at ${bytes(done)} of ${bytes(all)}`,
    starting: "Sent. Joining the queue…",
    lost: "Connection lost. It goes on by itself where it was.",
    again: (why: string, at: Date) => `${why} The page tries again at ${moment(at, new Date())}.`,
    againSoon: (why: string) => `${why} The page tries again by itself.`,
    login: "Log in, and it goes on.",
    interrupted: (done: number, all: number) =>
      `Stopped at ${bytes(done)} of ${bytes(all)} when the page was closed. ` +
      "Choose the same file, and it goes on from there.",
    pause: "Pause",
    resume: "Resume",
    tryNow: "Try now",
    tryAgain: "Try again",
    cancel: "Cancel",
    chooseFile: "Choose the file",
    progress: (title: string) => `Upload of ${title}`,
  },

  job: {
    details: (job: Job) =>
      [
        job.input.seconds === null || job.input.seconds === undefined
          ? bytes(job.input.bytes)
          : clock(job.input.seconds),
        job.options.two_stems !== null
          ? `Karaoke: ${stem(job.options.two_stems).toLowerCase()}`
          : (job.options.stems?.map(stem).join(", ") ?? null),
        job.options.format.toUpperCase(),
        job.options.model,
      ]
        .filter((part) => part !== null)
        .join(" · "),
    next: "Next in line",
    behind: (n: number) => (n === 1 ? "1 song is before it" : `${n} songs are before it`),
    farBehind: "More than 1,000 songs are before it",
    noWorker: "No worker is there for this model. It begins as soon as one is.",
    workerAway: (s: number) =>
      `First in line for ${span(s)}, but no worker takes it. It begins as soon as one is free.`,
    still: (s: number) =>
      `No progress for ${span(s)}. If its worker is gone, another one begins it again.`,
    givenBack: (why: string) => `${why} It is tried again by itself.`,
    running: "Separating",
    beginning: "Separation begins",
    left: (s: number) => `about ${span(s)} left`,
    almost: "almost done",
    failed: jobFailure,
    canceled: "Canceled.",
    canceling: "Canceling…",
    notCanceled: (why: string) => `${why} It is not canceled: try again.`,
    notErased: (why: string) => `${why} It is not erased: try again.`,
    erasing: "Erasing…",
    expired: "Its stems are no longer on the server. Send the song again.",
    gone: "It is no longer on the server.",
    at: (iso: string) => moment(new Date(iso), new Date()),
    cancel: "Cancel",
    erase: "Erase",
    remove: "Remove",
    open: "Open",
    listen: "Listen",
    again: "Try again",
    againFile: "Send again",
    progress: (title: string) => `Separation of ${title}`,
  },

  announce: {
    queued: (title: string) => `${title} is in the queue.`,
    running: (title: string) => `${title}: separation has begun.`,
    succeeded: (title: string) => `${title} is done.`,
    failed: (title: string) => `${title} failed.`,
    canceled: (title: string) => `${title} was canceled.`,
    uploaded: (title: string) => `${title} is sent.`,
    interrupted: (title: string) => `The upload of ${title} stopped.`,
    lost: "Connection lost.",
    back: "The connection is back.",
  },

  connection: "Connection lost. The page goes on by itself as soon as the server answers.",

  confirm: {
    eraseTitle: (title: string) => `Erase “${title}”?`,
    eraseText: "Its stems are erased on the server, too. This cannot be undone.",
    allTitle: (n: number) => `Erase ${songs(n)}?`,
    allText: "All songs that have ended are erased, on the server, too. This cannot be undone.",
    yes: "Erase",
    no: "Keep",
  },

  view: {
    back: "Your songs",
    loading: "Opening…",
    closed: "No song",
    again: (why: string) => `${why} The page tries again by itself.`,
    unknown: "The server does not know this song. It may have been erased.",
    reload: "Try again",
  },

  mixer: {
    title: (song: string) => `Mixer: ${song}`,
    loading: "The mixer is being set up.",
    play: "Play",
    pause: "Pause",
    playKey: "Play or pause (space)",
    seek: "Position in the song",
    seekKey: "Arrow keys: 5 seconds; with shift: 1 second",
    positionText: (at: string, length: string) => `${at} of ${length}`,
    loopGroup: "Loop",
    loop: "Loop",
    loopKey: "Loop on or off (L)",
    loopIn: "From here",
    loopInKey: "The loop begins here (I)",
    loopOut: "To here",
    loopOutKey: "The loop ends here (O)",
    loopClear: "Remove the loop",
    ruler: "Drag here to loop a part of the song",
    solo: (stem: string) => `Solo ${stem}`,
    soloShort: "S",
    soloKey: (key: number) => `Hear this stem alone (${key})`,
    mute: (stem: string) => `Mute ${stem}`,
    muteShort: "M",
    muteKey: (key: number) => `Silence this stem (shift+${key})`,
    volume: "Volume",
    pan: "Pan",
    fader: (what: string, stem: string) => `${what} of ${stem}`,
    panText: (percent: number) => {
      if (percent === 0) return "Centre";
      return `${Math.abs(percent)} % ${percent < 0 ? "left" : "right"}`;
    },
    resetHint: "Double click, or the key 0, sets it back",
    downloads: "Downloads",
    format: "Format",
    takeMix: "Download this mix",
    takeLoop: "Only the loop of it",
    takeAll: "All stems as zip",
    takeDj: "For DJ programs",
    downloadStem: (name: string) => `Download ${name}`,
    rendering: "The server makes the file. Your download begins when it is ready.",
    buffering: "Waiting for the network.",
    waiting: "The rest is still being separated. It goes on by itself.",
    previewing: (until: string) => `Ready up to ${until}, the rest follows.`,
    lost: "The connection is lost. It goes on by itself.",
    unreadable: "The server sent sound that this browser cannot decode.",
    gone: "The stems are gone from the server. Send the song again.",
    loggedOut: "You are logged out. Log in, and it goes on.",
    refused: (status: number) => `The server is busy or out of order (${status}). Trying again.`,
    noPeaks: "This song has no stored waveforms. They are drawn while it plays.",
  },

  login: {
    heading: "Log in",
    text: "This server asks who you are. Paste the token that its operator gave you.",
    token: "Token",
    submit: "Log in",
    wrong: "This token is unknown, revoked or expired.",
    tooMany: "Too many tries. Wait a moment.",
  },
};
