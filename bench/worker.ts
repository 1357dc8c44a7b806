/**
 * One contender in a process of its own: code that several contenders share would otherwise be optimised for none.
 *
 *     node --expose-gc worker.js VARIANT SIZE [IMAGE]
 *
 * For each line with a number N, does the work N times over and answers with one line of JSON, a {@link Measurement}.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { TableImage } from './table-image.ts';
import type { Measurement, Variant } from './variant.ts';

const [name = '', size = '', imagePath] = process.argv.slice(2);
const variant = await makeVariant(name, Number(size), () => readImage(imagePath));
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await measure(variant, Number(line)))}\n`);
}

async function makeVariant(name: string, size: number, image: () => TableImage): Promise<Variant> {
  // Only what is measured is loaded: nothing else shall have used the code before.
  switch (name) {
    case 'walk-scan':
      return (await import('./variants/scan.ts')).walkScan(image());
    case 'loop-scan':
      return (await import('./variants/scan.ts')).loopScan(image());
    case 'replay-one':
      return (await import('./variants/one-mapping.ts')).replayOne(image());
    case 'slice-of-loop':
      return (await import('./variants/one-mapping.ts')).sliceOfLoop(image());
    case 'slice-beyond-width':
      return (await import('./variants/one-mapping.ts')).sliceBeyondWidth(image());
    case 'slice-of-default-walk':
      return (await import('./variants/one-mapping.ts')).sliceOfDefaultWalk(image());
    case 'unchanged-reconcile':
      return (await import('./variants/shadow.ts')).unchangedReconcile(image());
    case 'live-sync':
      return (await import('./variants/shadow.ts')).liveSync(image());
    case 'translate-iotlb':
      return (await import('./variants/translate.ts')).translatePage(image(), true);
    case 'translate-full':
      return (await import('./variants/translate.ts')).translatePage(image(), false);
    case 'translate-tables':
      return (await import('./variants/translate.ts')).translateTables(image());
    case 'ledger-insert-ascending':
      return (await import('./variants/ledger.ts')).ledgerInsert(size, true);
    case 'ledger-insert-random':
      return (await import('./variants/ledger.ts')).ledgerInsert(size, false);
    case 'ledger-find':
      return (await import('./variants/ledger.ts')).ledgerFind(size);
    case 'ledger-remove':
      return (await import('./variants/ledger.ts')).ledgerRemove(size);
    case 'ledger-bytes-ascending':
      return (await import('./variants/ledger.ts')).ledgerBytes(size, true);
    case 'ledger-bytes-random':
      return (await import('./variants/ledger.ts')).ledgerBytes(size, false);
    case 'random-read':
      return (await import('./variants/ledger.ts')).randomRead(size);
    case 'plug':
      return (await import('./variants/plug.ts')).plug(image());
    case 'unplug':
      return (await import('./variants/plug.ts')).unplug(image());
    default:
      throw new Error(`there is no variant ${name}`);
  }
}

async function measure(variant: Variant, times: number): Promise<Measurement> {
  const prepared = variant.prepare?.(times);
  if (prepared !== undefined) await prepared;
  const cpuBefore = process.cpuUsage();
  const wallBefore = performance.now();
  const running = variant.run(times);
  const units = typeof running === 'number' ? running : await running;
  const wall = Math.round((performance.now() - wallBefore) * 1e6);
  const { user, system } = process.cpuUsage(cpuBefore);
  const facts = variant.facts?.();
  const measurement = { wall, cpu: (user + system) * 1000, units, check: variant.check() };
  return facts === undefined ? measurement : { ...measurement, facts };
}

function readImage(path: string | undefined): TableImage {
  if (path === undefined) throw new Error(`${name} needs an image`);
  // A copy: the buffer of a small file is a part of a larger one.
  return new TableImage(new Uint8Array(readFileSync(path)).buffer);
}
