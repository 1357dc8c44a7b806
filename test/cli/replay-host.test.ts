import { expect, test } from 'vitest';
import { RecordedHost } from '../../src/cli/replay/replay-host.ts';
import { Access, DenseRamBlock } from '../../src/memory/index.ts';
import { type HostIommu, HostRefusedError } from '../../src/vfio/index.ts';
import type { Mapping } from '../../src/iommu/index.ts';

const RAM = { block: new DenseRamBlock(16), page: 0 };

function page(iova: number): Mapping {
  return { iova, pages: 1, target: 0, access: Access.ReadWrite };
}

/** A host that answers each barrier with the next of `answers`. */
function host(answers: (Error | undefined)[]): HostIommu & { readonly left: () => number } {
  return {
    name: 'remote',
    limits: {
      pageSizes: 0x1000n,
      apertures: [{ start: 0, end: 2 ** 52 }],
      maxMappings: 10,
      unmap: 'exact',
      atomicReplace: false,
    },
    map: () => {},
    unmap: () => {},
    barrier: () => {
      const answer = answers.shift();
      return answer === undefined ? Promise.resolve() : Promise.reject(answer);
    },
    left: () => answers.length,
  };
}

function refused(op: 'map' | 'unmap', iova: number): HostRefusedError {
  return new HostRefusedError([{ op, iova, pages: 1, errno: 'ENOENT', reason: 'not so' }]);
}

test('what the record refuses is for the host to answer, too', async () => {
  const unmapRefused = refused('unmap', 1);
  const inner = host([refused('map', 1), unmapRefused]);
  const recorded = new RecordedHost(inner);
  recorded.map(page(1), RAM);
  await Promise.resolve(recorded.barrier()).catch(() => {});
  recorded.unmap(1, 1);

  const answer = recorded.barrier();

  await expect(answer).rejects.toBe(unmapRefused);
  expect([recorded.size, inner.left()]).toEqual([0, 0]);
});

test('what only the record refuses is told when the host has answered', async () => {
  const inner = host([undefined]);
  const recorded = new RecordedHost(inner);
  recorded.unmap(1, 1);

  const answer = recorded.barrier();

  await expect(answer).rejects.toMatchObject({ refusals: [{ op: 'unmap', iova: 1, errno: 'ENOENT' }] });
  expect(inner.left()).toBe(0);
});

test('what the host refused is not in the record', async () => {
  const recorded = new RecordedHost(host([refused('map', 2)]));
  recorded.map(page(1), RAM);
  recorded.map(page(2), RAM);

  await Promise.resolve(recorded.barrier()).catch(() => {});

  expect([...recorded.mappings()].map(({ iova }) => iova)).toEqual([1]);
});
