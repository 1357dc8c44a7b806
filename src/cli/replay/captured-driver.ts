import { join } from 'node:path';
import {
  type CaptureEvent,
  GuestFileError,
  PageAllocator,
  PageAllocatorError,
  targetsOf,
  GuestDriverError,
  GuestEventPlayer,
  VtdGuestDriver,
} from '../../guests/index.ts';
import type { RequesterId } from '../../iommu/index.ts';
import type { PageRange } from '../../memory/index.ts';
import type { OpenCapture } from '../source/source.ts';

/** The guest of a capture, doing again what was recorded of it. */
export class CapturedDriver {
  readonly #open: OpenCapture;
  readonly #driver: VtdGuestDriver;

  private constructor(open: OpenCapture, driver: VtdGuestDriver) {
    this.#open = open;
    this.#driver = driver;
  }

  /**
   * A driver that takes over the captured guest's tables. It keeps away from every page that something points at now,
   * or will when it plays `events`.
   */
  static async takeOver(open: OpenCapture, events: readonly CaptureEvent[]): Promise<CapturedDriver> {
    const { capture, memory, iommu } = open;
    const used: PageRange[] = [];
    for (const { page } of (await capture.memory())?.pages() ?? []) used.push({ start: page, end: page + 1 });
    for (const name of capture.requesters) used.push(...targetsOf((await capture.mappings(name)) ?? []));
    used.push(...targetsOf(events));
    return explained(open, 'registers and tables', () => {
      const allocator = new PageAllocator(capture.ram, used);
      const driver = new VtdGuestDriver({
        memory,
        registers: iommu,
        allocator,
        settled: () => iommu.settled(),
      });
      driver.attach();
      return new CapturedDriver(open, driver);
    });
  }

  /** Gives `requester` an empty domain instead of the one it has. */
  async startFromNothing(requester: RequesterId): Promise<void> {
    const driver = this.#driver;
    const old = explained(this.#open, 'registers and tables', () => driver.domainOf(requester));
    const levels = old?.levels === 3 || old?.levels === 5 ? old.levels : 4;
    await explainedLater(this.#open, 'registers and tables', async () => {
      const domain = driver.createDomain({ levels });
      await (old === undefined
        ? driver.attachDevice(requester, domain)
        : driver.switchDomain(requester, domain));
    });
  }

  /** Plays `events`; `played` is called with the number of those done now and then. */
  async play(
    requester: RequesterId,
    events: readonly CaptureEvent[],
    played: (done: number) => void,
  ): Promise<void> {
    const { capture, iommu } = this.#open;
    let done = 0;
    const player = explained(this.#open, 'the events', () => {
      // Recorded maps of device registers are made to point at a page that is no RAM.
      const deviceTarget = Math.max(...capture.ram.map((range) => range.end)) + 1;
      return new GuestEventPlayer(this.#driver, requester, { deviceTarget });
    });
    try {
      for (const event of events) {
        const step = player.play(event);
        if (step !== undefined) await step;
        if (done++ % 1024 === 0) played(done);
      }
    } catch (error) {
      throw asFileError(this.#open, `event ${done + 1} of ${events.length}`, error);
    }
    await iommu.settled();
  }
}

function explained<T>(open: OpenCapture, place: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw asFileError(open, place, error);
  }
}

async function explainedLater(open: OpenCapture, place: string, step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (error) {
    throw asFileError(open, place, error);
  }
}

/** What a driver cannot do with a capture is something wrong with the capture. */
function asFileError(open: OpenCapture, place: string, error: unknown): unknown {
  if (!(error instanceof GuestDriverError || error instanceof PageAllocatorError)) return error;
  return new GuestFileError({
    code: 'capture',
    file: join(open.capture.folder, 'capture.json'),
    place,
    problem: `the recorded guest cannot have done this: ${error.message}`,
    remedy: 'record the capture again, or take the events out of $.files to replay the tables alone',
    cause: error,
  });
}
