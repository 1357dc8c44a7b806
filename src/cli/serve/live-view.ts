import type { DmaEvent, PassedMessage } from '../../vfio-user/index.ts';
import { plural, printable } from '../terminal/text.ts';
import type { CommandIo } from '../terminal/io.ts';
import { styleOf } from '../terminal/style.ts';
import { type Clock, timeOfDay } from './clock.ts';
import { dmaLine, type LeadingKeys, ledgerJson, passedLine } from './dma-json.ts';
import { eventText } from './dma-tally.ts';
import type { LedgerSnapshot } from './ledger-snapshot.ts';
import { ledgerTable } from './ledger-table.ts';
import type { OutputQueue } from './output-queue.ts';
import { PacedRemarks } from './paced-remarks.ts';

/** Where a command that runs on shows what happens. */
export interface LiveView {
  /** One sentence about a connection: that somebody came, went, broke the protocol. */
  say(sentence: string): void;
  /** One sentence about an operation: why it was refused. However many there are, none takes the place of one that is said. */
  remark(sentence: string): void;
  /** One DMA event. `who` and `leading` tell sides apart where there are several. */
  dma(op: 'map' | 'unmap', event: DmaEvent, who?: string, leading?: LeadingKeys): void;
  /** A message that a proxy passed on. */
  passed(message: PassedMessage): void;
  /** The ledger; resolves when it is written. */
  ledger(snapshot: LedgerSnapshot): Promise<void>;
  /** Takes away what is only there while the command runs, and says what was held back. */
  end(): void;
}

/** What a view writes with. */
export interface ViewParts {
  readonly io: CommandIo;
  readonly queue: OutputQueue;
  readonly clock: Clock;
}

/** Lines of JSON on standard output, sentences on standard error. */
export function jsonView({ io, queue, clock }: ViewParts): LiveView {
  const line = (text: string): void => io.err(`viommu: ${text}\n`);
  const remarks = new PacedRemarks(clock, line);
  const sayings = new PacedRemarks(clock, line);
  return {
    say: (sentence) => sayings.add(sentence),
    remark: (sentence) => remarks.add(sentence),
    dma: (op, event, _who, leading) => queue.write(dmaLine(op, event, clock.now(), leading)),
    passed: (message) => queue.write(passedLine(message, clock.now())),
    ledger: (snapshot) => queue.writeAll(ledgerJson(snapshot)),
    end: () => {
      sayings.end();
      remarks.end();
    },
  };
}

/** What a view for people asks of its command. */
export interface PeopleOptions {
  /** Whether each event is a line. */
  readonly verbose: boolean;
  /** Whether a refused event is a line all the same; not where somebody else tells why it was refused. */
  readonly refusals: boolean;
  /**
   * How things stand, after another `seconds`, in one line; empty when there is nothing to show. Where there is no
   * terminal it is written only when something `changed`.
   */
  readonly summary: (seconds: number) => { readonly text: string; readonly changed: boolean };
}

const TERMINAL_MS = 250;
const LINES_MS = 1000;

/**
 * Sentences with the time of day on standard output. On a terminal a line below them shows how things stand; elsewhere
 * a line is written each second in which something came.
 */
export function peopleView(parts: ViewParts, { verbose, refusals, summary }: PeopleOptions): LiveView {
  const { io, queue, clock } = parts;
  const style = styleOf(io);
  const live = io.outIsTerminal;
  let status = '';
  const erase = (): string => (status === '' ? '' : '\r\x1b[K');
  const line = (text: string): void => {
    queue.write(`${erase()}${style.aside(timeOfDay(clock.now()))}  ${text}\n${status}`);
  };
  const remarks = new PacedRemarks(clock, line);
  const sayings = new PacedRemarks(clock, line);
  const milliseconds = live ? TERMINAL_MS : LINES_MS;
  const stop = clock.every(milliseconds, () => {
    // Somebody who reads slowly is not helped by more of the same.
    if (queue.waiting > 0) return;
    const { text, changed } = summary(milliseconds / 1000);
    if (!live) {
      if (changed) line(printable(text));
      return;
    }
    const next = printable(text).slice(0, (io.columns ?? 80) - 1);
    if (next === status) return;
    queue.write(`${erase()}${next}`);
    status = next;
  });
  return {
    say: (sentence) => sayings.add(sentence),
    remark: (sentence) => remarks.add(sentence),
    dma: (op, event, who) => {
      const text = `${who === undefined ? '' : `${who}: `}${eventText(op, event)}`;
      if (verbose) line(text);
      else if (refusals && event.result !== 'ok') remarks.add(`refused: ${text}`);
    },
    passed: ({ from, kind, command, size, descriptors, result }) => {
      const carried = descriptors > 0 ? `, ${plural(descriptors, 'descriptor')}` : '';
      const refused = result === 'ok' ? '' : `: ${result}`;
      line(
        printable(
          `${from === 'vmm' ? 'VMM' : from}: ${command} ${kind}, ${plural(size, 'byte')}${carried}${refused}`,
        ),
      );
    },
    ledger: (snapshot) => {
      queue.write(erase());
      status = '';
      return queue.writeAll(ledgerTable(snapshot, style));
    },
    end: () => {
      stop();
      queue.write(erase());
      status = '';
      sayings.end();
      remarks.end();
    },
  };
}
