// Decisions on their way to the server. Each lies in the browser's storage, under a key of its own, until the server has said that it
// is on its disk; a page that is reloaded, or a server that comes back, goes on with what is there. The server keeps one of each key.
import { Failure, postJson } from "../talk.js";

const AT_ONCE = 50;
const LONGEST_WAIT = 8000;
const OLDEST = 29 * 86400;
const random = () => [...crypto.getRandomValues(new Uint8Array(8))].map((b) => b.toString(16).padStart(2, "0")).join("");

export class Outbox {
  /**
   * @param {string} room - name of the room; decisions about another one stay where they are.
   * @param {{changed: Function, kept: Function, refused: Function}} tell - what is called when something has happened.
   */
  constructor(room, tell) {
    this.prefix = `darklens-vet:${room}:`;
    this.page = random();
    this.count = 0;
    this.arrived = 0; // decisions that the server has taken: what it said before that is out of date
    this.tell = tell;
    this.waiting = new Map();
    this.state = "saved";
    this.pause = 0;
    this.load();
    addEventListener("online", () => this.hurry());
    setTimeout(() => this.send());
  }

  /** Take up what an earlier page has left. */
  load() {
    const left = [];
    for (let i = 0; i < localStorage.length; i++) {
      const name = localStorage.key(i);
      if (!name.startsWith(this.prefix)) continue;
      try { left.push(JSON.parse(localStorage.getItem(name))); } catch { /* not of our making */ }
    }
    left.sort((a, b) => a.made - b.made || a.number - b.number);
    for (const one of left) this.waiting.set(one.key, one);
  }

  /** Enter a decision; it is in the browser's storage when this returns. */
  add(who, candidate, decision) {
    const number = this.count++;
    const one = { key: `${this.page}:${number}`, number, who, candidate, decision, made: Date.now() };
    this.waiting.set(one.key, one);
    try { localStorage.setItem(this.prefix + one.key, JSON.stringify(one)); } catch { /* storage is full or refused: it is kept in the page */ }
    this.note(this.state === "away" ? "away" : "sending");
    this.send();
  }

  /** What this person has said of an image and the server does not know yet; undefined if nothing. */
  pending(who, candidate) {
    let found;
    for (const one of this.waiting.values()) if (one.who === who && one.candidate === candidate) found = one.decision;
    return found;
  }

  note(state) {
    this.state = state;
    this.tell.changed(state, this.waiting.size);
  }

  /** Try again now. */
  hurry() {
    this.pause = 0;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.send();
  }

  /** Send what waits, in order, one request at a time. */
  async send() {
    if (this.sending || this.timer) return;
    this.sending = true;
    try {
      while (this.waiting.size) await this.sendSome();
      this.note("saved");
      this.pause = 0;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.note("away");
      this.pause = Math.min(LONGEST_WAIT, 2 * this.pause || 500);
      this.timer = setTimeout(() => { this.timer = undefined; this.send(); }, this.pause);
    } finally {
      this.sending = false;
    }
  }

  async sendSome() {
    const [{ who }] = this.waiting.values();
    const some = [];
    for (const one of this.waiting.values()) {
      if (one.who !== who || some.length === (this.singly ? 1 : AT_ONCE)) break;
      some.push(one);
    }
    const decisions = some.map(({ key, candidate, decision, made }) => ({ key, candidate, decision, age: Math.min(OLDEST, Math.max(0, Date.now() - made) / 1000) }));
    let kept;
    try {
      ({ kept } = await postJson("/api/vet/decisions", { who, decisions }));
    } catch (error) {
      if (![400, 422].includes(error.status)) throw error;
      if (some.length > 1) { this.singly = true; return; }
      this.forget(some[0].key);
      localStorage.setItem(`refused-${this.prefix}${some[0].key}`, JSON.stringify(some[0])); // not sent again, and not thrown away
      this.singly = false;
      this.tell.refused(some[0], error.message);
      return;
    }
    for (const one of kept) this.forget(one.key);
    this.tell.kept(some, kept);
  }

  forget(key) {
    this.arrived++;
    this.waiting.delete(key);
    localStorage.removeItem(this.prefix + key);
  }
}
