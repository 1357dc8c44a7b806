/** Recorded events played by a driver that took over the tables of a captured guest. @module */
import { join } from 'node:path';
import {
  type Capture,
  type CaptureEvent,
  type Completion,
  eventsAsInTables,
  type GuestDriver,
  GuestDriverError,
  GuestEventPlayer,
  GuestFileError,
  PageAllocator,
  PageAllocatorError,
  targetsOf,
} from '../../guests/index.ts';
import { formatRequesterId, type GuestIommu, type RequesterId } from '../../iommu/index.ts';
import type { PageRange } from '../../memory/index.ts';
import type { RecordedGuest } from './recorded-guest.ts';

/** A driver of any model that took over a captured guest's tables. */
export interface TableDriver {
  readonly driver: GuestDriver;
  /** Gives `requester` an empty domain instead of the one it has. */
  startFromNothing(requester: RequesterId): Completion;
}

/** Whose guest does what was recorded. */
export interface GuestToPlay {
  readonly capture: Capture;
  /** The IOMMU that was opened from the capture. */
  readonly iommu: GuestIommu;
  /** Whom the events are about. */
  readonly requester: RequesterId;
}

/** A captured guest with tables. */
export class TableGuest implements RecordedGuest {
  readonly unit = 'event';
  readonly notes: readonly string[];
  readonly #guest: GuestToPlay;
  readonly #events: readonly CaptureEvent[];
  readonly #driver: TableDriver;

  private constructor(
    guest: GuestToPlay,
    events: readonly CaptureEvent[],
    notes: readonly string[],
    driver: TableDriver,
  ) {
    this.#guest = guest;
    this.#events = events;
    this.#driver = driver;
    this.notes = notes;
  }

  /**
   * The guest with the driver that `takeOver` makes, which must keep to the pages of the allocator: those that nothing
   * points at, now or when the events are played. undefined when the capture has no events.
   */
  static async of(
    guest: GuestToPlay,
    takeOver: (allocator: PageAllocator) => TableDriver,
  ): Promise<TableGuest | undefined> {
    const { capture, requester } = guest;
    const recorded = await capture.events();
    if (recorded === undefined) return undefined;
    // What was recorded is what a sink hears; where the final tables tell more, the guest did more.
    const final =
      (await capture.finalMappings()) ?? (await capture.mappings(formatRequesterId(requester))) ?? [];
    const events = eventsAsInTables(recorded, final);
    const used = [...(await usedPages(capture)), ...targetsOf(events)];
    const driver = explained(capture, 'registers and tables', () =>
      takeOver(new PageAllocator(capture.ram, used)),
    );
    return new TableGuest(guest, events, restorationNotes(recorded, events), driver);
  }

  get length(): number {
    return this.#events.length;
  }

  async startFromNothing(): Promise<void> {
    const { capture, requester } = this.#guest;
    try {
      await this.#driver.startFromNothing(requester);
    } catch (error) {
      throw asFileError(capture, 'registers and tables', error);
    }
  }

  async play(played: (done: number) => void): Promise<void> {
    const { capture, iommu, requester } = this.#guest;
    const player = explained(capture, 'the events', () => {
      // Recorded maps of device registers are made to point at a page that is no RAM.
      const deviceTarget = Math.max(...capture.ram.map((range) => range.end)) + 1;
      return new GuestEventPlayer(this.#driver.driver, requester, { deviceTarget });
    });
    let done = 0;
    try {
      for (const event of this.#events) {
        const step = player.play(event);
        if (step !== undefined) await step;
        if (done++ % 1024 === 0) played(done);
      }
    } catch (error) {
      throw asFileError(capture, `event ${done + 1} of ${this.#events.length}`, error);
    }
    await iommu.settled();
  }
}

/** What the guest's structures occupy or lead to: a driver must take none of it for new tables. */
async function usedPages(capture: Capture): Promise<PageRange[]> {
  const used: PageRange[] = [];
  for (const { page } of (await capture.memory())?.pages() ?? []) used.push({ start: page, end: page + 1 });
  for (const name of capture.requesters) used.push(...targetsOf((await capture.mappings(name)) ?? []));
  return used;
}

function restorationNotes(recorded: readonly CaptureEvent[], events: readonly CaptureEvent[]): string[] {
  const changed = events.filter(
    ({ target, access }, i) => target !== recorded[i]?.target || access !== recorded[i]?.access,
  ).length;
  if (changed === 0) return [];
  return [
    `${changed} events were played with the access or target that the final tables show: QEMU tells a sink that a ` +
      'write-only leaf is rw, and not where the memory of a device lies',
  ];
}

function explained<T>(capture: Capture, place: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw asFileError(capture, place, error);
  }
}

/** What a driver cannot do with a capture is something wrong with the capture. */
function asFileError(capture: Capture, place: string, error: unknown): unknown {
  if (!(error instanceof GuestDriverError || error instanceof PageAllocatorError)) return error;
  return new GuestFileError({
    code: 'capture',
    file: join(capture.folder, 'capture.json'),
    place,
    problem: `the recorded guest cannot have done this: ${error.message}`,
    remedy: 'record the capture again, or take the events out of $.files to replay the tables alone',
    cause: error,
  });
}
