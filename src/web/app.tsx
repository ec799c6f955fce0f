// The page: its frame, and which part of it is shown.

import { useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";

import { connectionLost, loginNeeded } from "./api/client";
import { Songs } from "./jobs/list";
import { LoginForm } from "./login/form";
import { account, logout } from "./login/session";
import { OptionsPanel } from "./options/panel";
import { openId } from "./route";
import { texts } from "./texts";
import { announce, announced } from "./ui/announce";
import { ConfirmDialog } from "./ui/confirm";
import { DropVeil, DropZone, useWindowDrop } from "./upload/drop";
import { sendingCount } from "./upload/store";
import { SongView } from "./view";

/** Where that fails, one stays logged in. */
const leave = () => void logout().catch(() => undefined);

function Head() {
  const sending = sendingCount.value;
  return (
    <header class="head">
      <a class="head-name" href="#/" aria-label={texts.header.home}>
        <span class="mark">
          <i />
          <i />
          <i />
          <i />
        </span>
        {texts.header.name}
      </a>
      {sending > 0 && openId.value !== null ? (
        <a class="head-note" href="#/">
          {texts.header.uploading(sending)}
        </a>
      ) : null}
      {account.value !== null ? (
        <span class="head-account">
          <span class="muted">{account.value}</span>
          <button type="button" class="button quiet" data-testid="logout" onClick={leave}>
            {texts.header.logout}
          </button>
        </span>
      ) : null}
    </header>
  );
}

function Connection() {
  const before = useRef(false);
  useSignalEffect(() => {
    const lost = connectionLost.value;
    if (lost !== before.current) announce(lost ? texts.announce.lost : texts.announce.back);
    before.current = lost;
  });
  if (!connectionLost.value) return null;
  return (
    <div class="connection" data-testid="connection-note">
      {texts.connection}
    </div>
  );
}

function Home() {
  return (
    <>
      <section class="send" aria-label={texts.drop.choose}>
        <DropZone />
        <OptionsPanel />
      </section>
      <Songs />
    </>
  );
}

export function App(props: { onLogin: () => void }) {
  useWindowDrop();
  const id = openId.value;
  return (
    <>
      <Head />
      <main class="page">
        {loginNeeded.value ? (
          <LoginForm onLogin={props.onLogin} />
        ) : id !== null ? (
          <SongView key={id} id={id} />
        ) : (
          <Home />
        )}
      </main>
      <DropVeil />
      <Connection />
      <ConfirmDialog />
      <p class="hidden" role="status">
        {announced.value}
      </p>
    </>
  );
}
