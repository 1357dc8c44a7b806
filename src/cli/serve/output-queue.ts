/** What waits to be written: lines that gather, and texts of many pieces that are written piece by piece. */
type Item = { text: string } | { readonly pieces: Iterable<string>; readonly written: () => void };

/** Characters that may wait before whoever causes them is asked to hold on, and at which it may go on. */
const FULL = 2 ** 20;
const ROOM = 2 ** 18;

/**
 * Standard output for something that does not wait for it. What comes within one turn of the event loop is written
 * together, and a reader that is slow is told of, so that memory stays bounded.
 */
export class OutputQueue {
  readonly #out: (text: string) => Promise<void>;
  readonly #pressure: (full: boolean) => void;
  readonly #failed: (error: unknown) => void;
  #items: Item[] = [];
  #waiting = 0;
  #full = false;
  #pumping: Promise<void> | undefined;
  #broken = false;

  /**
   * @param out writes, and resolves when more may be written
   * @param pressure called with true when too much waits, with false when there is room again
   * @param failed called once when `out` rejects; nothing is written from then on
   */
  constructor(
    out: (text: string) => Promise<void>,
    pressure: (full: boolean) => void,
    failed: (error: unknown) => void,
  ) {
    this.#out = out;
    this.#pressure = pressure;
    this.#failed = failed;
  }

  /** Characters that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Appends text. */
  write(text: string): void {
    if (this.#broken) return;
    const last = this.#items.at(-1);
    if (last !== undefined && 'text' in last) last.text += text;
    else this.#items.push({ text });
    this.#waiting += text.length;
    if (!this.#full && this.#waiting > FULL) {
      this.#full = true;
      this.#pressure(true);
    }
    this.#pump();
  }

  /** Appends a text of many pieces, taken one by one as they are written. Resolves when all are, or never will be. */
  writeAll(pieces: Iterable<string>): Promise<void> {
    if (this.#broken) return Promise.resolve();
    return new Promise((written) => {
      this.#items.push({ pieces, written });
      this.#pump();
    });
  }

  /** Resolves when nothing waits, or nothing can be written any more. */
  async drained(): Promise<void> {
    while (this.#pumping !== undefined) await this.#pumping;
  }

  #pump(): void {
    this.#pumping ??= this.#writeItems();
  }

  async #writeItems(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    try {
      for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) {
        if ('text' in item) {
          await this.#out(item.text);
          this.#waiting -= item.text.length;
        } else {
          try {
            for (const piece of item.pieces) await this.#out(piece);
          } finally {
            item.written();
          }
        }
        this.#relieve();
      }
    } catch (error) {
      this.#break(error);
    } finally {
      this.#pumping = undefined;
    }
  }

  #relieve(): void {
    if (!this.#full || this.#waiting > ROOM) return;
    this.#full = false;
    this.#pressure(false);
  }

  #break(error: unknown): void {
    this.#broken = true;
    for (const item of this.#items) if ('written' in item) item.written();
    this.#items = [];
    this.#waiting = 0;
    this.#relieve();
    this.#failed(error);
  }
}
