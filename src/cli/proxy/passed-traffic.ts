import type { PassedMessage } from '../../vfio-user/index.ts';
import { formatCount, plural } from '../terminal/text.ts';

/** Counts messages that passed through. */
export class PassedTraffic {
  #messages = 0;
  #window = 0;

  /** Counts a command; its reply is not a second message to people. */
  add({ kind }: PassedMessage): void {
    if (kind === 'command') this.#messages++;
  }

  /** Commands since this was last asked. */
  takeWindow(): number {
    const count = this.#messages - this.#window;
    this.#window = this.#messages;
    return count;
  }

  /** `1,204 messages, 20/s`. */
  text(window: number, seconds: number): string {
    return `${plural(this.#messages, 'message')}, ${formatCount(Math.round(window / seconds))}/s`;
  }
}
