// The line to the server: the newest wish goes out when the last was answered, and again after a break.

import { unframe } from "./frames.js";

export class Live {
  /** @param on {quick(frame, sequence), slow(frame, sequence), said(sentence), state("on" | "off" | "waiting")} */
  constructor(on) {
    this.on = on;
    this.sequence = 0;
    this.waiting = null; // the newest wish that has not been sent
    this.last = null; // the newest wish of all, for after a break
    this.open = false;
    this.busy = false;
    this.pause = 250;
    this.connect();
  }

  connect() {
    this.on.state("waiting");
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.open = true;
      this.busy = false;
      this.pause = 250;
      this.on.state("on");
      if (this.last) this.ask(this.last);
    };
    this.socket.onmessage = ({ data }) => this.receive(data);
    this.socket.onclose = () => {
      this.open = false;
      this.on.state("off");
      setTimeout(() => this.connect(), this.pause);
      this.pause = Math.min(5000, this.pause * 1.6);
    };
  }

  /** Ask for a bench to be drawn; a wish that is overtaken is never sent. */
  ask(bench) {
    this.last = bench;
    this.waiting = bench;
    this.send();
  }

  send() {
    if (!this.open || this.busy || !this.waiting) return;
    this.sequence += 1;
    this.socket.send(JSON.stringify({ sequence: this.sequence, bench: this.waiting }));
    this.waiting = null;
    this.busy = true;
  }

  receive(data) {
    if (typeof data === "string") {
      this.busy = false;
      this.on.said(JSON.parse(data).error);
      this.send();
      return;
    }
    const view = new DataView(data);
    const sequence = view.getInt32(4, true);
    const frame = unframe(data, 8);
    if (view.getUint32(0, true) === 0) {
      this.busy = false;
      this.send(); // before drawing: the server works while we draw
      this.on.quick(frame, sequence);
    } else {
      this.on.slow(frame, sequence);
    }
  }
}
