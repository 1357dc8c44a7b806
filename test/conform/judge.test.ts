import { describe, expect, test } from 'vitest';
import {
  DriverEnded,
  judgeScenario,
  NotSupported,
  type Scenario,
  type ScenarioDriver,
} from '../../src/conform/index.ts';

const FINDING = { id: 'R0', qemu: 'holds nothing.', section: 'none', requires: 'a page.' };
const SCENARIO: Scenario = {
  id: 'vtd-one-page',
  model: 'vtd',
  title: 'a device is plugged onto one page',
  steps: [
    { do: 'plug', who: 'nic' },
    {
      do: 'expect',
      ledger: { nic: ['0x1000 4K -> 0x1000 rw'] },
      tables: { nic: 4 },
      qemu: { ledger: { nic: [] } },
    },
  ],
  finding: FINDING,
};

/** A driver that plugs and shows what it is told to; `closed` counts. */
class ShowingDriver implements ScenarioDriver {
  readonly #lines: readonly string[];
  readonly #tables: () => Promise<number>;
  closed = 0;

  constructor(lines: readonly string[], tables: () => Promise<number> = () => Promise.resolve(4)) {
    this.#lines = lines;
    this.#tables = tables;
  }

  take(): Promise<string> {
    return Promise.resolve('done');
  }

  ledger(): Promise<readonly string[]> {
    return Promise.resolve(this.#lines);
  }

  messages(): undefined {
    return undefined;
  }

  tables(): Promise<number> {
    return this.#tables();
  }

  faults(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  shown(text: readonly string[] | 'RAM'): readonly string[] {
    return text === 'RAM' ? [] : text;
  }

  close(): Promise<void> {
    this.closed++;
    return Promise.resolve();
  }
}

const PAGE = ['0x1000 4K -> 0x1000 rw'];

async function judged(driver: ShowingDriver) {
  const verdict = await judgeScenario(SCENARIO, () => Promise.resolve(driver));
  return { ...verdict, closed: driver.closed };
}

describe('a scenario is judged', () => {
  test('ok when everything is as specified', async () => {
    expect(await judged(new ShowingDriver(PAGE))).toEqual({ kind: 'ok', closed: 1 });
  });

  test('known when it differs exactly as noted', async () => {
    expect(await judged(new ShowingDriver([]))).toMatchObject({ kind: 'differs', known: true, closed: 1 });
  });

  test('not known when it differs otherwise', async () => {
    expect(await judged(new ShowingDriver(PAGE, () => Promise.resolve(8)))).toMatchObject({
      kind: 'differs',
      known: false,
      differences: [{ step: 1, what: 'tables read for nic', expected: ['4'], seen: ['8'] }],
    });
  });

  test('not supported when the driver finds in the middle that it lacks something', async () => {
    const error = new NotSupported('it does not count');

    const verdict = await judged(new ShowingDriver(PAGE, () => Promise.reject(error)));

    expect(verdict).toEqual({ kind: 'not-supported', why: 'it does not count', closed: 1 });
  });

  test('different when whatever ran it is gone', async () => {
    const error = new DriverEnded('aborted');

    expect(await judged(new ShowingDriver(PAGE, () => Promise.reject(error)))).toMatchObject({
      kind: 'differs',
      known: false,
      differences: [{ step: 1, what: 'end', expected: ['it goes on'], seen: ['aborted'] }],
    });
  });

  test('broken when a step cannot be taken, with the step', async () => {
    const error = new Error('no such slot');

    const verdict = await judged(new ShowingDriver(PAGE, () => Promise.reject(error)));

    expect(verdict).toMatchObject({ kind: 'broken', closed: 1 });
    expect(verdict).toHaveProperty('why', expect.stringContaining('vtd-one-page, step 2 (expect)'));
  });
});
