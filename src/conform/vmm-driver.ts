import { type ScenarioDriver } from './driver.ts';
import type { GuestSide } from './guest-side.ts';
import type { GuestStep, LedgerText, Messages, OperatorStep, Slot } from './scenario.ts';
import { addressOfText } from './text.ts';
import type { Vmm } from './vmm.ts';

/** Runs steps on a machine and its guest. */
export class VmmDriver implements ScenarioDriver {
  readonly #vmm: Vmm;
  #guest: GuestSide;

  private constructor(vmm: Vmm, guest: GuestSide) {
    this.#vmm = vmm;
    this.#guest = guest;
  }

  /** Boots a guest on `vmm`, which is the driver's from now on. */
  static async start(vmm: Vmm): Promise<VmmDriver> {
    try {
      const guest = await vmm.newGuest();
      await guest.boot();
      return new VmmDriver(vmm, guest);
    } catch (error) {
      await vmm.close();
      throw error;
    }
  }

  async take(step: GuestStep | OperatorStep): Promise<string> {
    switch (step.do) {
      case 'plug':
        return this.#vmm.plug(step.who, step.sink ?? {});
      case 'unplug':
        await this.#vmm.unplug(step.who);
        return 'done';
      case 'forget':
        this.#vmm.messages(step.who);
        return 'done';
      case 'dma':
        await this.#vmm.dma(step.access, addressOfText(step.iova));
        return 'done';
      case 'reset':
        await this.#vmm.reset();
        this.#guest = await this.#vmm.newGuest();
        return 'done';
      case 'boot':
        await this.#guest.boot();
        return 'done';
      default:
        return this.#guest.take(step);
    }
  }

  ledger(slot: Slot): Promise<readonly string[]> {
    return this.#vmm.ledger(slot);
  }

  messages(slot: Slot): Messages {
    return this.#vmm.messages(slot);
  }

  tables(slot: Slot): Promise<number> {
    return this.#vmm.tables(slot);
  }

  faults(): Promise<readonly string[]> {
    return this.#guest.faults();
  }

  shown(text: LedgerText): readonly string[] {
    return text === 'RAM' ? this.#vmm.allMemory : text.flatMap((line) => this.#vmm.tells(line));
  }

  close(): Promise<void> {
    return this.#vmm.close();
  }
}
