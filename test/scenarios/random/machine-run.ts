/** Carries out steps on a whole machine and on the reference, and holds the one against the other. @module */
import assert from 'node:assert/strict';
import { DeviceSteps } from './device-steps.ts';
import { GuestSteps } from './guest-steps.ts';
import { HostJudge } from './host-judge.ts';
import { EVERY_PAGE } from './layout.ts';
import { RawSteps } from './raw-steps.ts';
import { RunState } from './state.ts';
import type { Start, Step } from './steps.ts';

/** Reports that nothing a guest does may cause. */
const FAILURES = ['sink-failed', 'callback-failed', 'queue-error'];

/** One machine from boot to the last unplug. */
export class MachineRun {
  readonly #state: RunState;
  readonly #judge: HostJudge;
  readonly #guest: GuestSteps;
  readonly #raw: RawSteps;
  readonly #devices: DeviceSteps;

  private constructor(start: Start) {
    this.#state = new RunState(start);
    this.#judge = new HostJudge(this.#state);
    this.#guest = new GuestSteps(this.#state, this.#judge);
    this.#raw = new RawSteps(this.#state);
    this.#devices = new DeviceSteps(this.#state, this.#judge);
  }

  /** A machine whose guest has booted, with its domains, and its requesters attached. */
  static async boot(start: Start): Promise<MachineRun> {
    const run = new MachineRun(start);
    const { driver, domains } = run.#state;
    await driver.boot({ mode: start.mode });
    for (const levels of start.levels) domains.push(await run.#guest.createDomain(levels));
    for (const [requester, to] of start.attached.entries()) await run.#guest.attach(requester, to);
    return run;
  }

  /** Carries out one step; throws when anything was seen that must never be. */
  async take(step: Step): Promise<void> {
    this.#state.step++;
    await this.#carryOut(step);
    this.#judge.noteStrain();
    assert.deepEqual(this.#state.violations, []);
  }

  /** Waits for everything and unplugs every device; throws when anything is left. */
  async end(): Promise<void> {
    const { slots, events, guest } = this.#state;
    await this.take({ do: 'barrier' });
    for (const slot of slots.keys()) await this.take({ do: 'unplug', slot, wait: true });
    assert.deepEqual(this.#devices.leftovers(), []);
    assert.deepEqual(
      events.filter(({ kind }) => FAILURES.includes(kind)),
      [],
    );
    // Throws when anybody still listens.
    guest.memory.dispose();
  }

  #carryOut(step: Step): void | Promise<void> {
    const state = this.#state;
    const guest = this.#guest;
    switch (step.do) {
      case 'map':
        return guest.map(step);
      case 'unmap':
        return guest.unmap(step);
      case 'remap':
        return guest.remap(step);
      case 'raw':
        return this.#raw.edit(state.domain(step.domain), step.place, step.level, step.edit);
      case 'invalidate-exactly': {
        const domain = state.domain(step.domain);
        for (const range of domain.raw.splice(0)) guest.invalidate(domain, range);
        return;
      }
      case 'invalidate-pages':
        return guest.invalidatePlace(state.domain(step.domain), step.place, step.am);
      case 'invalidate-within':
        return guest.invalidateWithin(step);
      case 'invalidate-domain':
        return guest.invalidate(state.domain(step.domain), EVERY_PAGE);
      case 'invalidate-all':
        return guest.invalidateAll();
      case 'invalidate-context':
        return guest.invalidateContext(step.requester);
      case 'invalidate-everything':
        return guest.invalidateEverything();
      case 'flush':
        return guest.flush();
      case 'attach':
        return guest.attach(step.requester, step.to);
      case 'attach-silently':
        return guest.attachSilently(step.requester, step.to);
      case 'translation':
        return guest.setTranslation(step.on);
      case 'new-domain':
        return guest.replaceDomain(step.domain, step.levels);
      case 'plug':
        return this.#devices.plug(state.slot(step.slot), step.host, step.wait);
      case 'unplug':
        return this.#devices.unplug(state.slot(step.slot), step.wait);
      case 'release':
        return this.#devices.release(state.slot(step.slot));
      case 'ram':
        return this.#devices.changeRam(step.changes);
      case 'tick':
        return new Promise((resolve) => setImmediate(resolve));
      case 'barrier':
        return this.#barrier();
    }
  }

  /** Everything that was begun is over, and every host has confirmed. */
  async #barrier(): Promise<void> {
    const { pending, iommu, slots, violations } = this.#state;
    while (pending.length > 0) await Promise.all(pending.splice(0));
    await iommu.settled();
    for (const { plugged } of slots) await plugged?.container.barrier();
    this.#judge.holdings('at a barrier');
    assert.deepEqual(violations, []);
    for (const slot of slots) this.#judge.equality(slot);
  }
}
