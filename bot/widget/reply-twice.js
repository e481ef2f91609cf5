/* Reply Twice: the web chat, as one custom element.
 *
 *   <script src="https://chat.example.com/widget.js" defer></script>
 *
 * puts it on any page. The script's own address is the API's. Options, as data- attributes of that
 * tag (or of a <reply-twice> that the page places itself): data-title; data-lang (en, ko, ja; else
 * the browser's); data-theme="light" (never dark); data-email, data-name and data-signature for a
 * customer whom the shop has logged in. Colours: --reply-twice-accent and --reply-twice-on-accent.
 * A link to "#chat" anywhere on the page opens it; its data-text, if any, goes into the empty input.
 *
 * From top to bottom: words, what is kept in the browser, the server (Session), what is on its way
 * there (Outbox), what comes from there (Live), what that adds up to (Thread), and the element.
 */
(() => {
  "use strict";
  if (customElements.get("reply-twice")) return; // the line is on the page twice

  const SCRIPT = document.currentScript;
  const API = new URL("api/chat/", SCRIPT?.src || document.baseURI);
  const MAX_LENGTH = 4000; // characters, as the server counts them: code points
  const TYPING_MS = 20_000; // as long as the brain may take before a person is asked
  const GROUP_MS = 5 * 60_000; // one author's messages closer than this share a name and a time
  const HIDDEN_MS = 10_000; // a hidden tab lets go of its stream after this: browsers allow six to a host
  const SLEEP_MS = 60_000; // a timer this late means that the machine slept: its stream may be dead

  /** A time as the bot's replies write it (bot/components/times.py), so that a chat has one notation. */
  const clock = (hours, minutes) => `${hours}:${String(minutes).padStart(2, "0")}`;
  const LABELS = {
    en: {
      title: "Chat with us", subtitle: "A bot first, people when needed",
      open: "Open chat", close: "Close chat", log: "Messages", newer: "New messages",
      unread: (n) => (n === 1 ? "1 new message" : `${n} new messages`),
      welcome: "Hello! How can we help?",
      hint: "For an order, please include its number and the e-mail address it was placed with.",
      input: "Your message", placeholder: "Write a message…", send: "Send",
      you: "You", bot: "Assistant", tag: "Bot", agent: "A colleague",
      typing: "The assistant is writing…", sending: "Sending…",
      failed: "Not sent", retry: "Try again", edit: "Edit", refused: "It can’t be sent like this.",
      over: (n, max) => `Too long by ${n}. A message has at most ${max} characters.`,
      clock, waiting: "A colleague will answer here.", on: (day) => `on ${day}`,
      back: (day, time) => `We are back ${day} at ${time}.`,
      talking: (name) => `You are talking with ${name ?? "a colleague"}.`,
      joined: (name) => `${name ?? "A colleague"} joined the conversation.`,
      closed: "This conversation is closed. Write again any time.",
      rate: "How was our help?", worst: "Bad", best: "Very good", score: (n) => `${n} of 5`,
      comment: "Anything you would like to add?", rateSend: "Send", rated: "Thank you! You can change your answer for a day.",
      ratedLate: (n) => `Your rating: ${n} of 5`, notRated: "That didn’t get through. Please try again.",
      offline: "No connection. We keep trying.",
    },
    ko: {
      title: "채팅 문의", subtitle: "봇이 먼저, 필요하면 상담원이 답합니다",
      open: "채팅 열기", close: "채팅 닫기", log: "대화 내용", newer: "새 메시지",
      unread: (n) => `새 메시지 ${n}개`,
      welcome: "안녕하세요! 무엇을 도와드릴까요?",
      hint: "주문 관련 문의는 주문번호와 주문하실 때 쓰신 이메일 주소를 함께 적어 주세요.",
      input: "메시지 입력", placeholder: "메시지를 입력해 주세요", send: "보내기",
      you: "나", bot: "도우미", tag: "봇", agent: "상담원",
      typing: "답변을 작성하고 있습니다…", sending: "보내는 중…",
      failed: "전송되지 않음", retry: "다시 보내기", edit: "수정", refused: "보낼 수 없는 메시지입니다.",
      over: (n, max) => `최대 ${max}자까지 보내실 수 있습니다. ${n}자를 줄여 주세요.`,
      clock: (hours, minutes) => `${hours < 12 ? "오전" : "오후"} ${hours % 12 || 12}시${minutes ? ` ${minutes}분` : ""}`,
      waiting: "상담원이 이 채팅창에서 답변드리겠습니다.", on: (day) => day,
      back: (day, time) => `${day} ${time}부터 다시 상담해 드립니다.`,
      talking: (name) => (name ? `${name} 상담원과 대화 중입니다.` : "상담원과 대화 중입니다."),
      joined: (name) => (name ? `${name} 상담원이 대화에 참여했습니다.` : "상담원이 대화에 참여했습니다."),
      closed: "상담이 종료되었습니다. 언제든지 다시 메시지를 남겨 주세요.",
      rate: "상담은 어떠셨나요?", worst: "아쉬워요", best: "아주 좋아요", score: (n) => `5점 중 ${n}점`,
      comment: "더 남기실 말씀이 있으신가요?", rateSend: "보내기", rated: "감사합니다! 하루 동안 답변을 바꾸실 수 있습니다.",
      ratedLate: (n) => `보내 주신 평가: 5점 중 ${n}점`, notRated: "전송되지 않았습니다. 다시 시도해 주세요.",
      offline: "연결이 끊겼습니다. 다시 연결하고 있습니다…",
    },
    ja: {
      title: "チャットでお問い合わせ", subtitle: "まずボット、必要時は担当者が対応",
      open: "チャットを開く", close: "チャットを閉じる", log: "やり取り", newer: "新着メッセージ",
      unread: (n) => `新着メッセージ${n}件`,
      welcome: "こんにちは。どのようなご用件でしょうか？",
      hint: "ご注文については、注文番号とご注文時のメールアドレスをあわせてお知らせください。",
      input: "メッセージを入力", placeholder: "メッセージを入力してください", send: "送信",
      you: "あなた", bot: "アシスタント", tag: "ボット", agent: "担当者",
      typing: "返信を作成しています…", sending: "送信中…",
      failed: "送信できませんでした", retry: "再送信", edit: "編集", refused: "この内容は送信できません。",
      over: (n, max) => `${max}文字以内でご入力ください（${n}文字超過しています）。`,
      clock, waiting: "担当者がこのチャットでお返事いたします。", on: (day) => day,
      back: (day, time) => `${day}の${time}より対応を再開いたします。`,
      talking: (name) => (name ? `担当の${name}が対応しております。` : "担当者が対応しております。"),
      joined: (name) => (name ? `担当の${name}が参加しました。` : "担当者が参加しました。"),
      closed: "この会話は終了しました。またいつでもお気軽にメッセージをお送りください。",
      rate: "対応はいかがでしたか？", worst: "よくない", best: "とてもよい", score: (n) => `5点中${n}点`,
      comment: "ほかにお気づきの点があればお書きください。", rateSend: "送信", rated: "ありがとうございます。回答は1日以内なら変更できます。",
      ratedLate: (n) => `いただいた評価：5点中${n}点`, notRated: "送信できませんでした。もう一度お試しください。",
      offline: "接続が切れました。再接続しています…",
    },
  };

  const CSS = `
    :host { all: initial; position: fixed; z-index: 2147483000; inset: auto 0 0 auto;
      --accent: var(--reply-twice-accent, #22594c); --on-accent: var(--reply-twice-on-accent, #fff);
      --mine: var(--accent); --on-mine: var(--on-accent); --paper: #fff; --soft: #f0f2ef; --line: #d9ded9; --ink: #1b2421; --muted: #59645f; --alert: #b3261e;
      --shadow: 0 2px 6px #0f1f1a1f, 0 16px 48px #0f1f1a33; color-scheme: light; }
    @media (prefers-color-scheme: dark) { :host(:not([data-theme="light"])) {
      --accent: var(--reply-twice-accent, #86cfb4); --on-accent: var(--reply-twice-on-accent, #06231a);
      --mine: var(--reply-twice-accent, #2a6655); --on-mine: var(--reply-twice-on-accent, #fff); --paper: #161b1a; --soft: #262e2c; --line: #37413e; --ink: #edf2f0; --muted: #a8b4af; --alert: #ffb4ab;
      --shadow: 0 2px 6px #0008, 0 16px 48px #000a; color-scheme: dark; } }
    *, ::before { box-sizing: border-box; }
    /* Here and not on the host, which the page's own rules ("* { color: … }") can reach. */
    .launcher, .panel { all: initial; box-sizing: border-box; color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
      Roboto, "Noto Sans", "Apple SD Gothic Neo", "Hiragino Sans", "Noto Sans CJK KR", "Noto Sans CJK JP", sans-serif; }
    :host(:lang(ko)) .panel { word-break: keep-all; } :host(:lang(ja)) .panel { word-break: auto-phrase; line-break: strict; }
    [hidden] { display: none !important; }
    button, textarea { font: inherit; color: inherit; }
    button { border: 0; background: none; padding: 0; cursor: pointer; -webkit-tap-highlight-color: transparent; }
    :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
    .sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
    svg { display: block; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }

    .launcher { position: fixed; right: max(20px, env(safe-area-inset-right)); bottom: max(20px, env(safe-area-inset-bottom));
      width: 60px; height: 60px; border-radius: 50%; display: grid; place-items: center;
      cursor: pointer; border: 1px solid transparent; background: var(--accent); color: var(--on-accent); box-shadow: var(--shadow); }
    .launcher svg { width: 28px; height: 28px; }
    .launcher:focus-visible { outline: 3px solid var(--ink); box-shadow: 0 0 0 6px var(--paper); }
    .badge { position: absolute; top: -4px; right: -4px; min-width: 24px; height: 24px; padding: 0 6px; border-radius: 12px;
      background: #b3261e; color: #fff; border: 2px solid var(--paper); font-size: 12px; font-weight: 700; line-height: 20px; }

    .panel { position: fixed; right: max(20px, env(safe-area-inset-right)); bottom: max(20px, env(safe-area-inset-bottom));
      width: 390px; height: min(660px, 100dvh - 40px); display: flex; flex-direction: column; overflow: hidden;
      border: 1px solid var(--line); border-radius: 20px; background: var(--paper); box-shadow: var(--shadow); }
    .head { display: flex; align-items: center; gap: 12px; padding: 14px 12px 14px 18px; border-bottom: 1px solid var(--line); }
    .head > div { flex: 1; min-width: 0; }
    h2 { margin: 0; font-size: 16px; line-height: 1.35; font-weight: 650; }
    .head p { margin: 0; font-size: 13px; line-height: 1.35; color: var(--muted); }
    .round { flex: none; width: 40px; height: 40px; border-radius: 50%; display: grid; place-items: center; }
    .round svg { width: 20px; height: 20px; }
    .logo { background: var(--accent); color: var(--on-accent); }
    .close { color: var(--muted); }
    .close:hover, .quick button:hover { background: var(--soft); }

    .scroll { position: relative; flex: 1; min-height: 0; display: flex; }
    .log { flex: 1; min-width: 0; overflow: hidden auto; overscroll-behavior: contain; padding: 16px;
      display: flex; flex-direction: column; scrollbar-width: thin; }
    .log:focus-visible { outline-offset: -3px; border-radius: 6px; }
    .log > :first-child { margin-top: auto; }
    .line { align-self: center; margin: 12px 0 2px; text-align: center; font-size: 12.5px; color: var(--muted); }
    .welcome { margin: auto 0; padding: 0 6px; text-align: center; color: var(--muted); text-wrap: balance; }
    .welcome strong { display: block; margin-bottom: 6px; font-size: 17px; font-weight: 650; color: var(--ink); }
    .message { max-width: 84%; margin-top: 3px; display: flex; flex-direction: column; align-items: flex-start; align-self: flex-start; }
    .message.first { margin-top: 14px; }
    .message.customer { align-self: flex-end; align-items: flex-end; }
    .by { display: flex; align-items: center; gap: 6px; margin: 0 0 4px 2px; font-size: 12.5px; font-weight: 600; color: var(--muted); }
    .by span { padding: 0 6px; border: 1px solid var(--line); border-radius: 6px; font-size: 11px; line-height: 16px; }
    .bubble { padding: 8px 13px; border: 1px solid transparent; border-radius: 18px; background: var(--soft);
      white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; }
    .agent .bubble { background: var(--paper); border-color: var(--accent); }
    .customer .bubble { background: var(--mine); color: var(--on-mine); }
    .message.last:not(.customer) .bubble { border-end-start-radius: 5px; }
    .message.last.customer .bubble { border-end-end-radius: 5px; }
    .unsent .bubble { opacity: .8; }
    a { color: inherit; text-decoration: underline; text-underline-offset: 2px; }
    .bubble a:focus-visible { outline-color: currentColor; }
    .meta { margin: 3px 4px 0; font-size: 12px; color: var(--muted); }
    .meta:empty { display: none; }
    .meta.failed, .meta.refused { color: var(--alert); }
    .meta.sending { animation: appear .1s 1s backwards; } /* most are sent before one could read it */
    .meta button { min-height: 24px; font-weight: 650; text-decoration: underline; text-underline-offset: 2px; }
    .quick { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 10px; }
    .quick button { min-height: 36px; padding: 5px 14px; border: 1px solid var(--accent); border-radius: 18px;
      color: var(--accent); font-weight: 600; text-align: start; }
    .rating { align-self: stretch; margin: 14px 0 2px; padding: 12px 14px; border: 1px solid var(--line); border-radius: 14px; text-align: center; }
    .rating p { margin: 0 0 8px; font-weight: 600; } .rating .meta { margin: 8px 0 0; font-weight: 400; }
    .scores { display: flex; justify-content: center; gap: 8px; }
    .scores button { width: 42px; height: 42px; border: 1px solid var(--muted); border-radius: 50%; font-weight: 600; }
    .scores button:hover { background: var(--soft); }
    .scores button[aria-pressed="true"] { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
    .ends { display: flex; justify-content: space-between; max-width: 252px; margin: 4px auto 0; font-size: 12px; color: var(--muted); }
    .rating textarea { width: 100%; height: 64px; margin-top: 10px; border-radius: 12px; }
    .rating .save { min-height: 36px; margin-top: 6px; padding: 5px 18px; border-radius: 18px; background: var(--accent); color: var(--on-accent); font-weight: 600; }
    .typing { align-self: flex-start; display: flex; gap: 5px; margin-top: 14px; padding: 15px 14px; border-radius: 18px; background: var(--soft); }
    .typing i { width: 7px; height: 7px; border-radius: 50%; background: var(--muted); animation: nod 1.2s infinite ease-in-out; }
    .typing i:nth-child(2) { animation-delay: .15s; } .typing i:nth-child(3) { animation-delay: .3s; }
    .newer { position: absolute; bottom: 10px; left: 50%; translate: -50%; padding: 6px 14px 6px 10px; border-radius: 16px; display: flex;
      align-items: center; gap: 6px; background: var(--ink); color: var(--paper); font-size: 13px; font-weight: 600; white-space: nowrap; box-shadow: var(--shadow); }
    .newer svg { width: 16px; height: 16px; }

    .state { margin: 0; padding: 8px 18px; border-top: 1px solid var(--line); background: var(--soft); font-size: 13px; text-align: center; text-wrap: balance; }
    .state:empty, .over:empty { padding: 0; border: 0; } /* not display: none, or its first words aren't read out */
    form { display: flex; align-items: flex-end; gap: 8px; padding: 10px 10px 10px 12px; border-top: 1px solid var(--line); }
    textarea { flex: 1; min-width: 0; height: 42px; max-height: 136px; resize: none; margin: 0; padding: 9px 14px; line-height: 22px;
      border: 1px solid var(--muted); border-radius: 21px; background: var(--paper); scrollbar-width: thin; }
    textarea::placeholder { color: var(--muted); opacity: 1; }
    textarea:focus-visible { outline-offset: -1px; border-color: var(--accent); }
    textarea[aria-invalid="true"] { border-color: var(--alert); outline-color: var(--alert); }
    .send { margin: 1px; background: var(--accent); color: var(--on-accent); }
    .send[aria-disabled="true"] { background: var(--soft); color: var(--muted); cursor: default; }
    .over { margin: 0; padding: 8px 18px 0; border-top: 1px solid var(--line); color: var(--alert); font-size: 13px; }
    .over:not(:empty) + form { border-top: 0; }

    @media (max-width: 480px) {
      .panel { inset: var(--top, 0) 0 auto 0; width: 100%; height: var(--height, 100dvh); border: 0; border-radius: 0; padding:
        env(safe-area-inset-top) env(safe-area-inset-right) env(safe-area-inset-bottom) env(safe-area-inset-left); }
      textarea { font-size: 16px; } /* or iOS zooms in */
      .close { width: 44px; height: 44px; }
    }
    @media (prefers-reduced-motion: no-preference) {
      .panel { animation: rise .18s ease-out; } .launcher { transition: scale .15s; } .launcher:hover { scale: 1.06; }
      .message.new, .typing { animation: rise .18s ease-out; }
    }
    @media (prefers-reduced-motion: reduce) { .typing i { animation: none; } }
    @keyframes rise { from { opacity: 0; transform: translateY(8px); } }
    @keyframes appear { from { visibility: hidden; } }
    @keyframes nod { 0%, 60%, 100% { opacity: .35; } 30% { opacity: 1; } }`;

  const ICONS = {
    chat: "M21 11.5a8.4 8.4 0 0 1-8.5 8.5 8.9 8.9 0 0 1-3.9-.9L3 21l1.9-5.2A8.4 8.4 0 1 1 21 11.5zM8.5 11.5h.01M12.5 11.5h.01M16.5 11.5h.01",
    close: "M6 6l12 12M18 6L6 18",
    send: "M12 19V5M5.5 11.5L12 5l6.5 6.5",
    down: "M12 5v14M5.5 12.5L12 19l6.5-6.5",
  };

  // --- Small tools -------------------------------------------------------------------------------

  /** An element with attributes (`on…`: listeners) and children; strings become text, never markup. */
  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") node.addEventListener(name.slice(2), value);
      else if (value !== false) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function icon(name) {
    const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
  }

  /** Where a link may lead: https only, and no "https://your-bank.example@elsewhere.example". */
  function safeAddress(text) {
    try {
      const url = new URL(text);
      return url.protocol === "https:" && !url.username && !url.password ? url.href : null;
    } catch { return null; }
  }

  /** Text as nodes, addresses as links. Only ASCII counts: "https://a.example를" ends before 를. */
  function linked(text) {
    return text.split(/(https:\/\/[!#-;=?-~]*[\w/#=&%+~-])/i).map((part, i) => {
      const href = i % 2 ? safeAddress(part) : null;
      return href ? el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, part) : part;
    });
  }

  /** Changes text only if it differs: a live region would read it out again. */
  function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  /** randomUUID exists on https pages only, and a shop's page may not be one. */
  function uuid() {
    if (crypto.randomUUID) return crypto.randomUUID();
    const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
  }

  /** Milliseconds before the next try: 1, 2, 4 … 30 s, spread so that all pages don't come at once. */
  const pause = (tries) => Math.min(30_000, 1000 * 2 ** tries) * (0.75 + Math.random() / 2);

  const chains = {};
  /** Runs one job of a name at a time, over all tabs where the browser can (https), else in this one. */
  function oneAtATime(name, job) {
    if (navigator.locks) return navigator.locks.request(name, job);
    return (chains[name] = Promise.resolve(chains[name]).then(job, job));
  }

  // --- What the browser keeps --------------------------------------------------------------------

  /** localStorage for one customer, one key per thing so that tabs don't overwrite each other's. */
  class Memory {
    #spare = new Map(); // where storage is full or forbidden: forgotten at the end of the page

    constructor(who) {
      this.prefix = `reply-twice ${API.href} ${who} `;
      const others = this.#keys().filter((key) => key.startsWith(`reply-twice ${API.href} `) && key.endsWith(" token"));
      // On a shared computer, who has logged out leaves no key to their conversation behind.
      for (const key of others) {
        if (key !== `${this.prefix}token` && !key.endsWith("  token")) localStorage.removeItem(key);
      }
    }

    #keys() {
      try { return Object.keys(localStorage); } catch { return []; }
    }

    get(name) {
      if (this.#spare.has(name)) return this.#spare.get(name);
      try { return JSON.parse(localStorage.getItem(this.prefix + name)); } catch { return null; }
    }

    set(name, value) {
      this.#spare.delete(name);
      try { localStorage.setItem(this.prefix + name, JSON.stringify(value)); } catch { this.#spare.set(name, value); }
    }

    remove(name) {
      this.#spare.delete(name);
      try { localStorage.removeItem(this.prefix + name); } catch { /* it was in #spare */ }
    }

    /** All values whose name begins so. */
    all(start) {
      const kept = this.#keys().filter((key) => key.startsWith(this.prefix + start)).map((key) => key.slice(this.prefix.length));
      return [...new Set([...kept, ...this.#spare.keys()])].filter((n) => n.startsWith(start)).map((n) => this.get(n)).filter(Boolean);
    }
  }

  // --- The server --------------------------------------------------------------------------------

  /** An answer that isn't 2xx. `detail` is for the customer, if the server gave a sentence. */
  class HttpError extends Error {
    constructor(status, detail, retryAfter) {
      super(`HTTP ${status}`);
      Object.assign(this, { status, detail, retryAfter });
    }
  }

  /** One request. Returns its JSON; throws HttpError, or what fetch throws without a network. */
  async function request(method, path, body, token) {
    const headers = { ...(body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) };
    const response = await fetch(new URL(path, API), {
      method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(15_000),
    });
    if (response.ok) return response.json();
    const { detail } = await response.json().catch(() => ({}));
    throw new HttpError(response.status, typeof detail === "string" ? detail : null, Number(response.headers.get("Retry-After")) * 1000 || 0);
  }

  /** The customer's token: made when first needed, shared by all tabs, renewed when refused. */
  class Session {
    constructor(memory, identity, onRenewed) {
      Object.assign(this, { memory, identity, onRenewed });
    }

    get token() { return this.memory.get("token"); }

    /** A token other than `stale`; whichever tab is first makes it. */
    ensure(stale = null) {
      return oneAtATime(`${this.memory.prefix}session`, async () => {
        if (this.token && this.token !== stale) return this.token;
        this.memory.set("token", await this.#create());
        if (stale) this.onRenewed();
        return this.token;
      });
    }

    async #create() {
      try {
        return (await request("POST", "sessions", this.identity ? { identity: this.identity } : {})).token;
      } catch (error) {
        if (error.status !== 403 || !this.identity) throw error;
        console.warn("reply-twice: data-signature is not right for data-email; the customer chats as a guest.");
        this.identity = null;
        return this.#create();
      }
    }

    /** A request with the token. Without `create`, a token that isn't good any more is only forgotten. */
    async call(method, path, body, create = true) {
      const token = create ? await this.ensure() : this.token;
      try {
        return await request(method, path, body, token);
      } catch (error) {
        if (error.status !== 401) throw error;
        if (create) return request(method, path, body, await this.ensure(token));
        this.memory.remove("token");
        throw error;
      }
    }
  }

  /** Messages on their way. Kept until acknowledged, sent in order, always with the same client_id. */
  class Outbox {
    #tries = 0;
    #timer;

    /** `on`: sent(entry, id), failed(), refused(entry, reason). */
    constructor(memory, session, on) {
      Object.assign(this, { memory, session, on });
    }

    entries() { return this.memory.all("out ").sort((a, b) => a.at - b.at); }

    add(entry) {
      this.memory.set(`out ${entry.client_id}`, entry);
      this.flush();
    }

    drop(client_id) { this.memory.remove(`out ${client_id}`); }

    flush() {
      clearTimeout(this.#timer);
      return oneAtATime(`${this.memory.prefix}outbox`, () => this.#drain());
    }

    async #drain() {
      for (const entry of this.entries()) {
        const { client_id, text, button } = entry;
        try {
          const { id } = await this.session.call("POST", "messages", { client_id, text, ...(button && { button }) });
          this.#tries = 0;
          this.drop(client_id);
          this.on.sent(entry, id);
        } catch (error) {
          if ([400, 413, 422].includes(error.status)) {
            this.drop(client_id);
            this.on.refused(entry, error.detail);
            continue;
          }
          clearTimeout(this.#timer);
          this.#timer = setTimeout(() => this.flush(), Math.max(pause(this.#tries++), error.retryAfter ?? 0));
          this.on.failed();
          return; // those behind it wait, so that the order stays
        }
      }
    }
  }

  /** History, then the stream of what follows, again and again until told to stop. */
  class Live {
    #tries = 0;
    #timer;
    #attempt = 0;
    #source = null;

    /** `on`: history(data), message(data), status(data), connected(yes), wanted() → worth a new session. */
    constructor(session, on) {
      Object.assign(this, { session, on });
      this.running = false;
    }

    stop() {
      this.running = false;
      this.#attempt++;
      clearTimeout(this.#timer);
      this.#source?.close();
    }

    /** Begins anew; what is known already comes again and is told apart by its id. */
    async connect() {
      this.stop();
      this.running = true;
      const attempt = this.#attempt;
      try {
        const history = await this.session.call("GET", "messages", null, this.on.wanted());
        if (attempt !== this.#attempt) return;
        this.on.history(history);
        this.#follow(history.cursor);
      } catch (error) {
        if (attempt !== this.#attempt) return;
        if (error.status === 401 && !this.on.wanted()) this.stop();
        else this.#again();
      }
    }

    #again() {
      this.on.connected(false);
      this.#source?.close();
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.connect(), pause(this.#tries++));
    }

    #follow(cursor) {
      const url = new URL("events", API);
      url.searchParams.set("token", this.session.token);
      url.searchParams.set("after", cursor ?? 0);
      const source = (this.#source = new EventSource(url));
      source.onopen = () => { this.#tries = 0; this.on.connected(true); };
      source.addEventListener("message", (event) => this.on.message(JSON.parse(event.data)));
      source.addEventListener("status", (event) => this.on.status(JSON.parse(event.data)));
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) this.#again(); // an HTTP error: the browser gave up
        else this.on.connected(false);
      };
    }
  }

  // --- What it adds up to ------------------------------------------------------------------------

  /** The conversation as data. The server's messages by id in the server's order, ours on their way after them. */
  class Thread {
    constructor() { this.clear(); }

    clear() {
      this.messages = new Map(); // by id
      this.pending = new Map(); // by client_id; `state`: sending | sent | failed | refused
      this.joins = new Map(); // id of the message after which a person joined → name
      this.status = { state: "bot", replies_left: 2 };
    }

    /** Takes a message of the server; says whether it is new. Ours on its way becomes this one. */
    take(message) {
      const known = this.messages.has(message.id);
      const ours = [...this.pending.values()].find((p) => p.client_id === message.client_id || p.id === message.id);
      if (ours) this.pending.delete(ours.client_id);
      this.messages.set(message.id, { ...message, client_id: message.client_id ?? ours?.client_id });
      return !known;
    }

    takeStatus(status) {
      this.status = status;
      const last = this.sorted().at(-1);
      if (status.state === "agent" && last && this.#present() !== (status.agent ?? null)) this.joins.set(last.id, status.agent ?? null);
    }

    /** Who of the shop is in the conversation after its last message: a name, null (no name), undefined (nobody). */
    #present() { return this.sorted().reduce((here, m) => this.#after(m, here), undefined); }

    #after(m, here) {
      if (this.joins.has(m.id)) return this.joins.get(m.id);
      return { bot: undefined, agent: m.name ?? null, customer: here }[m.author];
    }

    /** The server's messages, oldest first. */
    sorted() { return [...this.messages.values()].sort((a, b) => Date.parse(a.at) - Date.parse(b.at)); }

    /** Acknowledged, not yet back from the server: it stands behind what was there, and what comes later goes below it. */
    acknowledge(entry, id) {
      const last = Math.max(0, ...this.sorted().map((m) => Date.parse(m.at)));
      this.pending.set(entry.client_id, { ...entry, id, state: "sent", after: last + 0.5 });
    }

    /** Everything in the order in which it is shown; what is not sent comes last. */
    #inOrder() {
      const place = (m) => m.after ?? (m.state ? Infinity : Date.parse(m.at));
      return [...this.messages.values(), ...this.pending.values()]
        .map((m) => ({ author: "customer", name: null, ...m, place: place(m) }))
        .sort((a, b) => (a.place === b.place ? 0 : a.place - b.place));
    }

    /** When the last message from the shop came, ms; 0 for none. */
    newest() { return Math.max(0, ...this.fromShop().map((m) => Date.parse(m.at))); }

    fromShop() { return [...this.messages.values()].filter((m) => m.author !== "customer"); }

    /** Quick replies stand under the latest message only, while the bot can act on them. */
    buttons() {
      const last = this.sorted().at(-1);
      const open = this.pending.size === 0 && ["bot", "waiting"].includes(this.status.state);
      return open && last?.author === "bot" && last.buttons?.length ? { key: `quick ${last.id}`, kind: "quick", buttons: last.buttons } : null;
    }

    /** The question how it was, after a conversation that is over: part of the page, no message. */
    rating() {
      const { state, rating } = this.status;
      const ask = state === "closed" && rating && this.pending.size === 0;
      return ask ? { key: `rating ${rating.conversation}`, kind: "rating", rating } : null;
    }

    /** What the log shows, from top to bottom: days, joins, messages. Each row has a key that lasts. */
    rows(wording) {
      const rows = [];
      let day, here;
      const join = (id, name) => name !== here && rows.push({ key: `join ${id}`, kind: "line", text: wording.joined(name) });
      for (const m of this.#inOrder()) {
        const at = new Date(m.at);
        if (day !== (day = at.toDateString())) rows.push({ key: `day ${day}`, kind: "line", text: wording.day(at) });
        if (m.author === "agent") join(m.id, m.name ?? null);
        rows.push({ ...m, at, key: m.client_id ?? `message ${m.id}`, kind: "message" });
        if (m.author === "agent") here = m.name ?? null;
        if (this.joins.has(m.id)) join(`after ${m.id}`, this.joins.get(m.id));
        here = this.#after(m, here);
      }
      rows.forEach((row, i) => {
        row.first = !sameGroup(rows[i - 1], row);
        row.last = !sameGroup(row, rows[i + 1]);
      });
      return rows;
    }
  }

  function sameGroup(a, b) {
    return a?.kind === "message" && b?.kind === "message" && a.author === b.author && a.name === b.name && b.at - a.at < GROUP_MS;
  }

  // --- What is seen ------------------------------------------------------------------------------

  /** The log: rows become nodes, each made once and then only touched where it changes. */
  class Log {
    #nodes = new Map(); // row key → node
    stuck = true; // the reader is at the bottom, and stays there when something comes

    /** `act`: retry(), edit(row), press(button), rate(score, comment) → promise. */
    constructor(labels, wording, act) {
      Object.assign(this, { labels, wording, act });
      this.node = el("div", { class: "log", role: "log", "aria-label": labels.log, "aria-relevant": "additions", tabindex: "0", onscroll: () => this.#scrolled() });
      this.newer = el("button", { class: "newer", type: "button", hidden: "", onclick: () => this.toBottom() }, icon("down"), labels.newer);
      new ResizeObserver(() => {
        this.height = this.node.clientHeight;
        if (this.stuck) this.toBottom();
      }).observe(this.node);
    }

    /** `news`: what is new came just now, and isn't the past. */
    show(rows, news) {
      const keys = new Set(rows.map((row) => row.key));
      for (const [key, node] of this.#nodes) {
        if (keys.has(key)) continue;
        node.remove();
        this.#nodes.delete(key);
      }
      rows.forEach((row, i) => {
        const known = this.#nodes.get(row.key);
        const node = known ?? this.#make(row, news);
        if (row.kind === "message") this.#update(node, row);
        if (row.kind === "rating") this.#updateRating(node, row.rating);
        if (!known) this.#nodes.set(row.key, node);
        if (this.node.children[i] !== node) this.node.insertBefore(node, this.node.children[i] ?? null);
        if (!known && news && !this.stuck && row.kind === "message" && row.author !== "customer") this.newer.hidden = false;
      });
      if (this.stuck) this.toBottom();
    }

    toBottom() {
      this.stuck = true;
      this.newer.hidden = true;
      this.node.scrollTop = this.node.scrollHeight;
    }

    #scrolled() {
      const { scrollTop, scrollHeight, clientHeight } = this.node;
      if (clientHeight !== this.height) return; // the input has grown, nobody has scrolled
      this.stuck = scrollHeight - scrollTop - clientHeight < 40;
      if (this.stuck) this.newer.hidden = true;
    }

    #make(row, news) {
      const { labels, act } = this;
      if (row.kind === "line") return el("p", { class: "line" }, row.text);
      if (row.kind === "welcome") return el("p", { class: "welcome" }, el("strong", {}, labels.welcome), labels.hint);
      if (row.kind === "typing") return el("div", { class: "typing", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
      if (row.kind === "quick") {
        return el("div", { class: "quick" }, ...row.buttons.map((b) => el("button", { type: "button", onclick: () => act.press(b) }, b.title)));
      }
      if (row.kind === "rating") return this.#rating();
      const name = { customer: labels.you, bot: labels.bot, agent: row.name ?? labels.agent }[row.author];
      const by = el("p", { class: "by", "aria-hidden": "true" }, name, ...(row.author === "bot" ? [el("span", {}, labels.tag)] : []));
      const bubble = el("div", { class: "bubble" }, el("span", { class: "sr" }, `${name}: `), ...linked(row.text));
      return el("div", { class: `message ${row.author}${news ? " new" : ""}` }, by, bubble, el("div", { class: "meta" }));
    }

    /** The question: a score is sent as it is chosen, a comment when its button is pressed. */
    #rating() {
      const { labels, act } = this;
      const said = el("div", { class: "meta", role: "status" });
      const comment = el("textarea", { "aria-label": labels.comment, placeholder: labels.comment, maxlength: "1000" });
      let score = null;
      const send = async (chosen) => {
        score = chosen;
        scores.forEach((button, i) => button.setAttribute("aria-pressed", String(i + 1 === chosen)));
        more.hidden = false;
        try {
          await act.rate(chosen, comment.value.trim());
          setText(said, labels.rated);
        } catch { setText(said, labels.notRated); }
        if (this.stuck) this.toBottom();
      };
      const scores = [1, 2, 3, 4, 5].map((n) =>
        el("button", { type: "button", "aria-pressed": "false", "aria-label": labels.score(n), onclick: () => send(n) }, String(n)));
      const more = el("div", { hidden: "" }, comment, el("button", { type: "button", class: "save", onclick: () => send(score) }, labels.rateSend));
      const node = el("div", { class: "rating", role: "group", "aria-label": labels.rate }, el("p", {}, labels.rate),
        el("div", { class: "scores" }, ...scores), el("div", { class: "ends", "aria-hidden": "true" }, el("span", {}, labels.worst), el("span", {}, labels.best)), more, said);
      node.fill = (rating) => { // what the server knows, unless the customer is at it
        if (rating.score && score === null) {
          score = rating.score;
          comment.value = rating.comment;
          scores.forEach((button, i) => button.setAttribute("aria-pressed", String(i + 1 === score)));
          more.hidden = !rating.open;
        }
        if (rating.open) return;
        for (const button of scores) button.disabled = true;
        more.hidden = true;
        setText(said, labels.ratedLate(rating.score));
      };
      return node;
    }

    #updateRating(node, rating) { node.fill(rating); }

    #update(node, row) {
      const [by, , meta] = node.children;
      by.hidden = !row.first || row.author === "customer";
      node.classList.toggle("first", row.first);
      node.classList.toggle("last", row.last);
      node.classList.toggle("unsent", ["sending", "failed", "refused"].includes(row.state ?? ""));
      const shown = ["failed", "refused"].includes(row.state) ? row.state : row.last && (row.state === "sending" ? "sending" : `at ${+row.at}`);
      if (meta.dataset.shown === String(shown)) return;
      meta.dataset.shown = shown;
      meta.className = `meta ${row.state ?? ""}`;
      meta.replaceChildren(...this.#meta(row, shown));
    }

    #meta(row, shown) {
      const { labels, act } = this;
      const button = (label, job) => el("button", { type: "button", onclick: job }, label);
      if (shown === "sending") return [labels.sending];
      if (shown === "failed") return [`${labels.failed} · `, button(labels.retry, () => act.retry())];
      if (shown === "refused") return [`${labels.failed} · ${row.reason ?? labels.refused} `, button(labels.edit, () => act.edit(row))];
      return shown ? [el("time", { datetime: row.at.toISOString() }, this.wording.time(row.at))] : [];
    }
  }

  // --- The element -------------------------------------------------------------------------------

  class ReplyTwice extends HTMLElement {
    #thread = new Thread();
    #typingUntil = 0;
    #ready = false; // history has been shown once: from now on a message is news

    connectedCallback() {
      const options = { ...SCRIPT?.dataset, ...this.dataset };
      if (options.theme) this.dataset.theme = options.theme; // the styles look for it here
      this.#chooseWords(options);
      this.#build(options.title || this.labels.title);
      const { email, name, signature } = options;
      const identity = email && signature ? { email, name: name || null, signature } : null;
      this.memory = new Memory(identity?.email ?? "");
      this.session = new Session(this.memory, identity, () => this.#startOver());
      this.outbox = new Outbox(this.memory, this.session, {
        sent: (entry, id) => this.#mark(entry, { id, state: "sent" }),
        failed: () => { for (const entry of this.outbox.entries()) this.#mark(entry, { state: "failed" }); },
        refused: (entry, reason) => this.#mark(entry, { state: "refused", reason }),
      });
      this.live = new Live(this.session, {
        history: (data) => this.#takeHistory(data),
        message: (message) => this.#takeMessage(message),
        status: (status) => this.#takeStatus(status),
        connected: (yes) => this.#showConnection(yes),
        wanted: () => this.#wanted,
      });
      this.#listen();
      this.#resume();
    }

    disconnectedCallback() {
      this.live.stop();
      this.gone.abort();
    }

    /** Opens the panel and puts the cursor into the input. */
    open(text = "") {
      if (!this.#isOpen) this.opener = document.activeElement;
      this.#setOpen(true);
      if (text && !this.input.value) this.input.value = text;
      this.#sizeInput();
      this.input.focus();
      if (!this.live.running) this.live.connect();
    }

    /** Closes the panel; focus goes back to where it came from. */
    close() {
      this.#setOpen(false);
      (this.opener?.isConnected && this.opener !== document.body && this.opener !== this ? this.opener : this.launcher).focus();
    }

    get #isOpen() { return !this.panel.hidden; }

    /** A session is worth making: somebody writes or reads, or the shop vouches anew for one who has written before. */
    get #wanted() { return this.#isOpen || this.#thread.pending.size > 0 || Boolean(this.session.identity && this.session.token); }

    // Set-up

    #chooseWords({ lang }) {
      const wanted = lang || navigator.language || "en";
      const language = wanted.toLowerCase().split("-")[0];
      this.lang = language in LABELS ? language : "en";
      this.labels = LABELS[this.lang];
      const locale = language === this.lang ? wanted : "en";
      const format = (style) => { const f = new Intl.DateTimeFormat(locale, style); return (date) => f.format(date); };
      const [weekday, date] = [{ weekday: "long" }, { weekday: "long", day: "numeric", month: "long" }].map(format);
      const time = (at) => this.labels.clock(at.getHours(), at.getMinutes());
      const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
      const days = (at) => Math.round((new Date(at).setHours(12, 0) - new Date().setHours(12, 0)) / 86_400_000);
      const capital = (text) => text[0].toUpperCase() + text.slice(1);
      this.wording = {
        time, joined: this.labels.joined,
        day: (at) => (days(at) > -2 ? capital(relative.format(days(at), "day")) : date(at)),
        back: (at) => {
          const n = days(at);
          const day = n < 2 ? relative.format(n, "day") : this.labels.on(n < 7 ? weekday(at) : date(at));
          return this.labels.back(day, time(at));
        },
      };
    }

    #build(title) {
      const l = this.labels;
      const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
      const sheet = new CSSStyleSheet(); // a page's Content-Security-Policy can't forbid this one
      sheet.replaceSync(CSS);
      root.adoptedStyleSheets = [sheet];
      this.badge = el("span", { class: "badge", "aria-hidden": "true", hidden: "" });
      this.launcher = el("button", { class: "launcher", part: "launcher", type: "button", "aria-haspopup": "dialog", onclick: () => this.open() }, icon("chat"), this.badge);
      this.notice = el("div", { class: "sr", role: "status" });
      this.log = new Log(l, this.wording, {
        retry: () => this.#retry(),
        edit: (entry) => this.#edit(entry),
        press: ({ title, button }) => this.#say(title, button),
        rate: (score, comment) => this.#rate(score, comment),
      });
      this.state = el("p", { class: "state", role: "status" });
      this.over = el("p", { class: "over", id: "over", role: "alert" });
      this.input = el("textarea", { id: "input", rows: "1", placeholder: l.placeholder, "aria-describedby": "over", enterkeyhint: "send", autocomplete: "off",
        oninput: () => this.#sizeInput(), onkeydown: (event) => this.#inputKey(event) });
      this.send = el("button", { class: "round send", type: "submit", "aria-label": l.send, "aria-disabled": "true" }, icon("send"));
      const form = el("form", { onsubmit: (event) => { event.preventDefault(); this.#submit(); } },
        el("label", { class: "sr", for: "input" }, l.input), this.input, this.send);
      this.panel = el("section", { class: "panel", part: "panel", role: "dialog", "aria-labelledby": "title", hidden: "", onkeydown: (event) => this.#panelKey(event) },
        el("div", { class: "head" }, el("span", { class: "round logo" }, icon("chat")),
          el("div", {}, el("h2", { id: "title" }, title), el("p", {}, l.subtitle)),
          el("button", { class: "round close", type: "button", "aria-label": l.close, onclick: () => this.close() }, icon("close"))),
        el("div", { class: "scroll" }, this.log.node, this.log.newer), this.state, this.over, form);
      root.replaceChildren(this.launcher, this.panel, this.notice);
    }

    #listen() {
      this.gone = new AbortController();
      const on = (target, type, job) => target.addEventListener(type, job, { signal: this.gone.signal });
      on(window, "online", () => this.#wake());
      on(window, "offline", () => this.#showConnection(false));
      on(window, "pageshow", (event) => event.persisted && this.#wake());
      on(window, "pagehide", () => this.live.stop()); // an open stream keeps the page out of the back/forward cache
      on(window, "storage", (event) => this.#otherTab(event));
      on(document, "visibilitychange", () => this.#visibility());
      on(document, "click", (event) => {
        const link = event.target.closest?.('a[href="#chat"]');
        if (!link) return;
        event.preventDefault();
        link.focus(); // Safari doesn't by itself, and focus is to come back here
        this.open(link.dataset.text);
      });
      this.narrow = matchMedia("(max-width: 480px)");
      on(this.narrow, "change", () => this.#fit());
      for (const type of ["resize", "scroll"]) on(visualViewport, type, () => this.#fit());
      let last = Date.now();
      const clock = setInterval(() => {
        if (Date.now() - last > SLEEP_MS) this.#wake();
        last = Date.now();
      }, SLEEP_MS / 4);
      on(this.gone.signal, "abort", () => clearInterval(clock));
    }

    /** After a load: what this tab showed, what is not sent yet, and what has come in the meantime. */
    #resume() {
      for (const entry of this.outbox.entries()) this.#thread.pending.set(entry.client_id, { ...entry, state: "sending" });
      try {
        this.input.value = sessionStorage.getItem("reply-twice draft") ?? "";
        // A panel that fills the screen would hide the page that the customer has just asked for.
        if (sessionStorage.getItem("reply-twice open") && !this.narrow.matches) this.#setOpen(true);
      } catch { /* storage is forbidden: start closed and empty */ }
      this.#fit();
      this.#sizeInput();
      this.#render();
      if (this.#thread.pending.size) this.outbox.flush();
      if (!document.hidden) this.#connectIfKnown();
    }

    /** A page view alone makes no session: only a stored token, an open panel or an unsent message connects. */
    #connectIfKnown() {
      if (this.#wanted || this.session.token) this.live.connect();
    }

    #wake() {
      if (document.hidden) return;
      if (this.outbox.entries().length) this.outbox.flush();
      this.#connectIfKnown();
    }

    #visibility() {
      clearTimeout(this.hiddenTimer);
      if (document.hidden) this.hiddenTimer = setTimeout(() => this.live.stop(), HIDDEN_MS);
      else if (!this.live.running) this.#wake();
      else this.#render(); // what came meanwhile is seen now
    }

    /** Another tab of this customer has sent, read or renewed something. */
    #otherTab({ key, newValue }) {
      if (!key?.startsWith(this.memory.prefix)) return;
      const name = key.slice(this.memory.prefix.length);
      if (name === "token") {
        if (newValue) this.#startOver();
      } else if (name.startsWith("out ")) {
        const entry = newValue ? JSON.parse(newValue) : this.#thread.pending.get(name.slice(4));
        if (entry && entry.state !== "refused") this.#mark(entry, { state: newValue ? "sending" : "sent" });
      } else this.#render();
    }

    /** A new session has its own history; what was not sent goes there. */
    #startOver() {
      const unsent = [...this.#thread.pending].filter(([, entry]) => entry.state !== "sent");
      this.#thread.clear();
      this.#thread.pending = new Map(unsent);
      this.#ready = false;
      if (!document.hidden) this.live.connect();
    }

    // What comes from the server

    #takeHistory({ messages, status }) {
      const acknowledged = [...this.#thread.pending.values()].filter((entry) => entry.state === "sent");
      for (const message of messages) this.#takeOne(message);
      for (const { client_id } of acknowledged) this.#thread.pending.delete(client_id); // history has them, or never will
      this.log.node.setAttribute("aria-busy", String(!this.#ready)); // the past is not news: it isn't read out
      this.#takeStatus(status);
      this.#ready = true;
      this.log.node.setAttribute("aria-busy", "false");
    }

    #takeMessage(message) {
      const ours = this.#thread.pending.get(message.client_id);
      const fresh = this.#takeOne(message);
      if (fresh && message.author === "customer") this.#expectReply(ours?.button);
      this.#render();
    }

    #takeOne(message) {
      if (message.client_id) this.outbox.drop(message.client_id); // its coming back acknowledges it, too
      const fresh = this.#thread.take(message);
      if (fresh && message.author !== "customer") this.#typingUntil = 0;
      return fresh;
    }

    #takeStatus(status) {
      this.#thread.takeStatus(status);
      if (status.state !== "bot") this.#typingUntil = 0;
      this.#render();
    }

    #showConnection(yes) {
      clearTimeout(this.offlineTimer);
      if (yes && this.outbox.entries().length) this.outbox.flush(); // the server is back: don't wait for the next try
      const show = () => { this.offline = !yes; this.#render(); };
      if (yes) show();
      else this.offlineTimer = setTimeout(show, 3000); // a stream that is renewed at once is no news
    }

    /** Dots, unless nobody but a person can answer now, or the customer has said that it is settled. */
    #expectReply(button) {
      const { state, replies_left } = this.#thread.status;
      const botMay = state === "closed" || (state === "bot" && replies_left !== 0);
      if (!botMay || button === "settled") return;
      this.#typingUntil = Date.now() + TYPING_MS;
      clearTimeout(this.typingTimer);
      this.typingTimer = setTimeout(() => {
        if (!this.#typingUntil) return;
        this.#typingUntil = 0;
        this.#render();
        if (!document.hidden) this.live.connect(); // the stream may be dead without having said so
      }, TYPING_MS);
    }

    // What the customer does

    #submit() {
      const text = this.input.value.trim();
      this.input.focus();
      if (!text || this.#excess() > 0) return;
      this.input.value = "";
      this.#sizeInput();
      this.#say(text);
    }

    #say(text, button = null) {
      const entry = { client_id: uuid(), text, button, at: Date.now() };
      this.#thread.pending.set(entry.client_id, { ...entry, state: "sending" });
      this.log.stuck = true;
      this.#expectReply(button);
      this.#render();
      this.outbox.add(entry);
      if (!this.live.running) this.live.connect();
    }

    async #rate(score, comment) {
      const { rating } = await this.session.call("POST", "rating", { score, comment }, false);
      this.#thread.status = { ...this.#thread.status, rating };
    }

    #mark(entry, changes) {
      if ([...this.#thread.messages.values()].some((m) => m.client_id === entry.client_id)) return; // it has arrived already
      const before = this.#thread.pending.get(entry.client_id);
      if (changes.state === "sent") this.#thread.acknowledge({ ...entry, ...before }, changes.id);
      else this.#thread.pending.set(entry.client_id, { ...entry, ...before, ...changes });
      if (["failed", "refused"].includes(changes.state)) this.#typingUntil = 0;
      if (changes.state === "sent") this.#expectReply(entry.button);
      this.#render();
    }

    #retry() {
      for (const entry of this.outbox.entries()) this.#mark(entry, { state: "sending" });
      this.outbox.flush();
      this.input.focus();
    }

    #edit(entry) {
      this.#thread.pending.delete(entry.client_id);
      this.input.value = [this.input.value, entry.text].filter(Boolean).join("\n");
      this.#sizeInput();
      this.#render();
      this.input.focus();
    }

    #inputKey(event) {
      // While Korean or Japanese is being composed, Enter ends the composition (229: Safari says so late).
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    }

    #panelKey(event) {
      event.stopPropagation(); // a shop's own shortcuts ("/" for search) don't fire while one writes here
      if (event.isComposing) return;
      if (event.key === "Escape") this.close();
      if (event.key !== "Tab" || !this.narrow.matches) return;
      // Over the full screen the page behind can't be seen, so Tab stays here.
      const stops = [...this.panel.querySelectorAll("button, a, textarea, [tabindex]")].filter((node) => node.checkVisibility?.() ?? true);
      const from = this.shadowRoot.activeElement;
      if (from !== (event.shiftKey ? stops[0] : stops.at(-1))) return;
      event.preventDefault();
      (event.shiftKey ? stops.at(-1) : stops[0]).focus();
    }

    #excess() { return [...this.input.value.trim()].length - MAX_LENGTH; }

    #sizeInput() {
      const { input } = this;
      input.style.height = "";
      const { scrollHeight, offsetHeight, clientHeight } = input;
      if (scrollHeight > clientHeight) input.style.height = `${scrollHeight + offsetHeight - clientHeight}px`;
      const excess = this.#excess();
      const number = (n) => n.toLocaleString(this.lang);
      setText(this.over, excess > 0 ? this.labels.over(number(excess), number(MAX_LENGTH)) : "");
      input.setAttribute("aria-invalid", String(excess > 0));
      this.send.setAttribute("aria-disabled", String(excess > 0 || !input.value.trim()));
      try { sessionStorage.setItem("reply-twice draft", input.value); } catch { /* then a reload loses the draft */ }
    }

    // What is seen

    #setOpen(open) {
      this.panel.hidden = !open;
      this.launcher.hidden = open;
      try { sessionStorage[open ? "setItem" : "removeItem"]("reply-twice open", "1"); } catch { /* then a reload closes it */ }
      this.#fit();
      this.#render();
      if (open) this.log.toBottom();
    }

    /** Full screen: where the on-screen keyboard leaves room (100dvh doesn't know of it). */
    #fit() {
      const full = this.narrow.matches;
      this.panel.setAttribute("aria-modal", String(full));
      const { height, offsetTop, scale } = visualViewport;
      const fitted = full && scale < 1.01; // pinched to read closer: leave it
      this.panel.style.setProperty("--height", fitted ? `${height}px` : "");
      this.panel.style.setProperty("--top", fitted ? `${offsetTop}px` : "");
    }

    #render() {
      const focused = this.shadowRoot.activeElement;
      const typing = Date.now() < this.#typingUntil;
      const rows = this.#thread.rows(this.wording);
      const quick = this.#thread.buttons();
      if (quick) rows.push(quick);
      const rating = this.#thread.rating();
      if (rating) rows.push(rating);
      if (typing) rows.push({ key: "typing", kind: "typing" });
      if (!rows.length && (this.#ready || !this.session.token)) rows.push({ key: "welcome", kind: "welcome" });
      this.log.show(rows, this.#ready);
      setText(this.state, this.#stateLine());
      this.#showUnread(typing);
      if (focused && !focused.isConnected) this.input.focus(); // a quick reply that had the focus is gone
    }

    /** Who answers now. It is not a message: it costs no reply and goes when it is no longer true. */
    #stateLine() {
      const { labels } = this;
      const { state, agent, opens_at } = this.#thread.status;
      if (this.offline) return labels.offline;
      if (state === "agent") return labels.talking(agent);
      if (state === "closed" && !this.#thread.pending.size) return labels.closed;
      if (state !== "waiting") return "";
      const later = opens_at && new Date(opens_at) > new Date();
      return later ? `${labels.waiting} ${this.wording.back(new Date(opens_at))}` : labels.waiting;
    }

    #showUnread(typing) {
      const { labels, memory } = this;
      const seen = memory.get("seen") ?? 0;
      const newest = this.#thread.newest();
      if (this.#isOpen && !document.hidden && newest > seen) memory.set("seen", newest);
      const unread = this.#isOpen ? 0 : this.#thread.fromShop().filter((m) => Date.parse(m.at) > seen).length;
      this.badge.hidden = !unread;
      setText(this.badge, unread > 9 ? "9+" : String(unread));
      this.launcher.setAttribute("aria-label", unread ? `${labels.open}, ${labels.unread(unread)}` : labels.open);
      setText(this.notice, this.#isOpen ? (typing ? labels.typing : "") : unread ? labels.unread(unread) : "");
    }
  }

  customElements.define("reply-twice", ReplyTwice);

  const place = () => document.querySelector("reply-twice") ?? document.body.append(el("reply-twice"));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", place);
  else place();
})();
