/** The same guest on QEMU and on our model, step by step, with a VFIO host under each. @module */
import { type GuestDomain, GuestDriverError, type VtdGuestDriver } from '../../../src/guests/index.ts';
import { Access } from '../../../src/memory/index.ts';
import type { Mapping } from '../../../src/iommu/index.ts';
import { RecordingHost } from '../../scenarios/recording-host.ts';
import { NIC, ScenarioMachine } from '../../scenarios/scenario-machine.ts';
import { filePage } from '../../../src/qemu/index.ts';
import type { QemuMachine } from './qemu-machine.ts';
import type { Sink } from './sink.ts';
import { dmaText, type DmaText } from './tables.ts';

/** What a guest does; page numbers. Domains are counted from 0. */
export type GuestStep =
  | {
      readonly do: 'map';
      readonly domain: number;
      readonly iova: number;
      readonly pages: number;
      readonly target: number;
      readonly access: Access;
      readonly leafPages: number;
    }
  | { readonly do: 'unmap'; readonly domain: number; readonly iova: number; readonly pages: number }
  | {
      readonly do: 'remap';
      readonly domain: number;
      readonly iova: number;
      readonly pages: number;
      readonly target: number;
      readonly access: Access;
    }
  | { readonly do: 'invalidate-pages'; readonly domain: number; readonly iova: number; readonly am: number }
  | { readonly do: 'invalidate-domain'; readonly domain: number }
  | { readonly do: 'invalidate-all' }
  | { readonly do: 'invalidate-context' }
  | { readonly do: 'switch'; readonly domain: number }
  | { readonly do: 'reattach' }
  | { readonly do: 'translation-off-and-on' };

/** Domains that a guest has. */
export const DOMAINS = 3;

/** Two machines whose guests do the same. */
export class Lockstep {
  readonly #qemu: QemuMachine;
  readonly #model: ScenarioMachine;
  readonly #sink: Sink;
  readonly #host: RecordingHost = new RecordingHost({ strictness: 'vfio-user' });
  readonly #domains: readonly { readonly qemu: GuestDomain; readonly model: GuestDomain }[];
  #current = 0;

  private constructor(qemu: QemuMachine, model: ScenarioMachine, sink: Sink) {
    this.#qemu = qemu;
    this.#model = model;
    this.#sink = sink;
    this.#domains = Array.from({ length: DOMAINS }, () => ({
      qemu: qemu.driver.createDomain({ levels: 4 }),
      model: model.driver.createDomain({ levels: 4 }),
    }));
  }

  /**
   * The device is attached to domain 0 and plugged after `before`: `sink`, through `socket`. The caller kills `qemu`.
   */
  static async start(
    qemu: QemuMachine,
    sink: Sink,
    socket: string,
    before: readonly GuestStep[],
  ): Promise<Lockstep> {
    const model = new ScenarioMachine();
    const self = new Lockstep(qemu, model, sink);
    await self.#both((driver, side) => driver.attachDevice(NIC, self.#domain(0, side)));
    for (const step of before) await self.take(step);
    await qemu.plug(socket);
    await model.machine.plug(model.nicPlace, self.#host);
    return self;
  }

  /** Both guests take a step. Gives the error by which both drivers refused it, if they did. */
  take(step: GuestStep): Promise<string | undefined> {
    switch (step.do) {
      case 'map': {
        const { iova, pages, target, access, leafPages } = step;
        return this.#both((driver, side) =>
          driver.map(this.#domain(step.domain, side), iova, pages, target, access, { leafPages }),
        );
      }
      case 'unmap':
        return this.#both((driver, side) =>
          driver.unmap(this.#domain(step.domain, side), step.iova, step.pages),
        );
      case 'remap': {
        const { iova, pages, target, access } = step;
        return this.#both((driver, side) =>
          driver.remap(this.#domain(step.domain, side), iova, pages, access, target),
        );
      }
      case 'invalidate-pages':
        return this.#both((driver, side) =>
          driver.invalidateIotlb({
            domain: this.#domain(step.domain, side).id,
            iova: step.iova,
            am: step.am,
          }),
        );
      case 'invalidate-domain':
        return this.#both((driver, side) =>
          driver.invalidateIotlb({ domain: this.#domain(step.domain, side).id }),
        );
      case 'invalidate-all':
        return this.#both((driver) => driver.invalidateIotlb('global'));
      case 'invalidate-context':
        return this.#both((driver) => driver.invalidateContext('global'));
      case 'switch':
        this.#current = step.domain;
        return this.#both((driver, side) => driver.switchDomain(NIC, this.#domain(step.domain, side)));
      case 'reattach':
        return this.#both(async (driver, side) => {
          await driver.detachDevice(NIC);
          await driver.attachDevice(NIC, this.#domain(this.#current, side));
        });
      case 'translation-off-and-on':
        return this.#both(async (driver) => {
          await driver.setTranslation(false);
          await driver.setTranslation(true);
        });
    }
  }

  /** What the device of each can reach now, in one form. */
  get ledgers(): { readonly qemu: readonly DmaText[]; readonly model: readonly DmaText[] } {
    return { qemu: this.#sink.ledger, model: [...this.#host.mappings()].map(asSent) };
  }

  /** What was refused by either host. There is nothing to refuse. */
  get refusals(): number {
    return this.#sink.counts.refused + this.#host.refusals.length;
  }

  #domain(index: number, side: 'qemu' | 'model'): GuestDomain {
    const domain = this.#domains[index];
    if (domain === undefined) throw new Error(`there is no domain ${index}`);
    return domain[side];
  }

  async #both(
    step: (driver: VtdGuestDriver, side: 'qemu' | 'model') => void | Promise<void>,
  ): Promise<string | undefined> {
    const [qemu, model] = [
      await refusalOf(() => step(this.#qemu.driver, 'qemu')),
      await refusalOf(() => step(this.#model.driver, 'model')),
    ];
    if (qemu !== model) throw new Error(`QEMU's guest: ${qemu ?? 'done'}; the model's: ${model ?? 'done'}`);
    return qemu;
  }
}

async function refusalOf(step: () => void | Promise<void>): Promise<string | undefined> {
  try {
    await step();
    return undefined;
  } catch (error) {
    if (error instanceof GuestDriverError) return error.message;
    throw error;
  }
}

/** As QEMU sends it: what may be written may be read. */
function asSent({ iova, pages, target, access }: Mapping): DmaText {
  return dmaText(iova, pages, filePage(target), access | Access.Read);
}
