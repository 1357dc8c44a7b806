import { afterEach, describe, expect, test } from 'vitest';
import { Errno } from '../../../src/vfio-user/index.ts';
import { openFakeDescriptors } from '../memory-channel.ts';
import { type Map, PAGE, rig, type RigOptions, settle } from './rig.ts';
import type { StrictServer } from './strict-server.ts';

afterEach(async () => {
  await settle();
  expect(openFakeDescriptors()).toBe(0);
});

function merging(options: RigOptions = {}): ReturnType<typeof rig> {
  return rig({ ...options, proxy: { ...options.proxy, merge: true } });
}

/** Where the server's mappings begin, and their pages. */
function held(server: StrictServer): [iova: number, pages: number][] {
  return server.mappings().map(({ iova, size }) => [Number(iova / PAGE), Number(size / PAGE)]);
}

function pages(count: number, map: Partial<Map> = {}): Map[] {
  return Array.from({ length: count }, (_, i) => ({ iova: i, offset: i, file: 1, ...map }));
}

describe('neighbours in one burst', () => {
  test('become one mapping of the server, and all are answered', async () => {
    const { vmm, proxy, server } = merging();

    const errnos = await Promise.all(pages(64).map((map) => vmm.map(map)));

    expect(errnos).toEqual(Array.from({ length: 64 }, () => 0));
    expect([server.commands, held(server)]).toEqual([['map 0 40000'], [[0, 64]]]);
    expect([[...proxy.mappings()].length, [...proxy.serverMappings()].length]).toEqual([64, 1]);
    proxy.close();
  });

  test.each([
    ['descending', [3, 2, 1, 0]],
    ['from both ends', [0, 3, 1, 2]],
    ['with the middle last', [0, 1, 3, 2]],
  ])('%s become one too', async (_, order) => {
    const { vmm, proxy, server } = merging();

    await Promise.all(order.map((page) => vmm.map({ iova: page, offset: page + 100, file: 1 })));

    expect(server.mappings()).toEqual([
      { iova: 0n, size: 4n * PAGE, offset: 100n * PAGE, access: 3, file: 1 },
    ]);
    proxy.close();
  });

  test('without descriptors become one too', async () => {
    const { vmm, proxy, server } = merging();

    await Promise.all([0, 1, 2].map((iova) => vmm.map({ iova })));

    expect(server.mappings()).toEqual([
      { iova: 0n, size: 3n * PAGE, offset: 0n, access: 3, file: undefined },
    ]);
    proxy.close();
  });

  test.each([
    ['another file', { file: 2 }],
    ['another part of the file', { offset: 9 }],
    ['other access', { access: 1 }],
    ['no descriptor', { file: undefined }],
    ['a gap', { iova: 2 }],
  ])('stay apart with %s', async (_, difference) => {
    const { vmm, proxy, server } = merging();

    await Promise.all([
      vmm.map({ iova: 0, offset: 0, file: 1 }),
      vmm.map({ iova: 1, offset: 1, file: 1, ...difference }),
    ]);

    expect(server.table.size).toBe(2);
    proxy.close();
  });

  test('stay apart when their file cannot be recognised', async () => {
    const { vmm, proxy, server } = merging({ proxy: { files: undefined } });

    await Promise.all(pages(3).map((map) => vmm.map(map)));

    expect(server.table.size).toBe(3);
    proxy.close();
  });

  test('stay apart without the option', async () => {
    const { vmm, proxy, server } = rig();

    await Promise.all(pages(3).map((map) => vmm.map(map)));

    expect(server.table.size).toBe(3);
    proxy.close();
  });

  test('a mapping that the server has is not grown', async () => {
    const { vmm, proxy, server } = merging();
    await vmm.map({ iova: 0, file: 1 });

    await vmm.map({ iova: 1, offset: 1, file: 1 });

    expect(server.commands).toEqual(['map 0 1000', 'map 1000 1000']);
    proxy.close();
  });

  test('what arrives while maps are on their way is collected until they are answered', async () => {
    const { vmm, proxy, server } = merging();
    server.hold();
    const first = vmm.map({ iova: 0, file: 1 });
    await settle();
    const rest = [1, 2, 3].map((page) => vmm.map({ iova: page, offset: page, file: 1 }));
    await settle();

    expect(server.commands).toEqual(['map 0 1000']);
    server.release();
    await Promise.all([first, ...rest]);

    expect(server.commands).toEqual(['map 0 1000', 'map 1000 3000']);
    proxy.close();
  });

  test('any other command goes behind them', async () => {
    const { vmm, proxy, server } = merging();
    server.hold();

    void vmm.map({ iova: 0, file: 1 });
    void vmm.map({ iova: 1, offset: 1, file: 1 });
    vmm.connection.post(10, new Uint8Array(16));
    void vmm.map({ iova: 2, offset: 2, file: 1 });
    await settle();
    server.release();
    await settle();

    expect(server.commands).toEqual(['map 0 2000', '10', 'map 2000 1000']);
    proxy.close();
  });

  test('count as one against what the server can hold', async () => {
    const { vmm, proxy, server } = merging({ maxDmaMaps: 2 });
    await vmm.version();

    const errnos = await Promise.all([
      ...pages(10).map((map) => vmm.map(map)),
      vmm.map({ iova: 20, file: 1 }),
      vmm.map({ iova: 30, file: 1 }),
      vmm.map({ iova: 21, offset: 1, file: 1 }),
    ]);

    expect(errnos).toEqual([...Array.from({ length: 11 }, () => 0), Errno.ENOSPC, 0]);
    expect([held(server), server.refusals]).toEqual([
      [
        [0, 10],
        [20, 2],
      ],
      [],
    ]);
    proxy.close();
  });
});

describe('an unmap of a part', () => {
  test('unmaps the whole and maps the rest anew, with the file’s descriptor', async () => {
    const { vmm, proxy, server } = merging();
    await Promise.all(pages(10).map((map) => vmm.map(map)));

    const errnos = await Promise.all([vmm.unmap(3, 2), vmm.unmap(9)]);

    expect(errnos).toEqual([0, 0]);
    expect(server.mappings()).toEqual([
      { iova: 0n, size: 3n * PAGE, offset: 0n, access: 3, file: 1 },
      { iova: 5n * PAGE, size: 4n * PAGE, offset: 5n * PAGE, access: 3, file: 1 },
    ]);
    expect([server.refusals, [...proxy.mappings()].length]).toEqual([[], 7]);
    proxy.close();
  });

  test('of the whole is one exact unmap', async () => {
    const { vmm, proxy, server } = merging();
    await Promise.all(pages(10).map((map) => vmm.map(map)));

    await vmm.unmap(0, 100);

    expect(server.commands).toEqual(['map 0 a000', 'unmap 0 a000']);
    proxy.close();
  });

  test('is answered when the rest is mapped again', async () => {
    const { vmm, proxy, server } = merging();
    await Promise.all(pages(4).map((map) => vmm.map(map)));
    server.hold();
    let isAnswered = false;

    void vmm.unmap(0).then(() => (isAnswered = true));
    await settle();

    expect([server.commands.slice(1), isAnswered]).toEqual([['unmap 0 4000', 'map 1000 3000'], false]);
    server.release();
    await settle();
    expect(isAnswered).toBe(true);
    proxy.close();
  });

  test('ends the link where the server has no room for the rest', async () => {
    const { vmm, proxy } = merging({ maxDmaMaps: 1 });
    await vmm.version();
    await Promise.all(pages(3).map((map) => vmm.map(map)));

    void vmm.unmap(1).catch(() => {});

    const { message } = await proxy.closed;
    expect(message).toContain(
      'it can hold 1 mappings, too few to take a merged mapping apart: do without merging',
    );
  });

  test('ends the link when the server refuses the rest', async () => {
    let isRefusing = false;
    const { vmm, proxy } = merging({ refuse: () => (isRefusing ? Errno.ENOMEM : undefined) });
    await Promise.all(pages(3).map((map) => vmm.map(map)));
    isRefusing = true;

    void vmm.unmap(0).catch(() => {});

    const { message } = await proxy.closed;
    expect(message).toContain('it refused (ENOMEM) to map again 0x1000-0x1fff');
  });
});

describe('a merged mapping that is refused', () => {
  const refusePage3: RigOptions = {
    refuse: ({ iova, size }) => (iova <= 3n * PAGE && 3n * PAGE < iova + size ? Errno.EACCES : undefined),
  };

  test('is mapped in its parts, so that only the guilty one is refused', async () => {
    const { vmm, proxy, server } = merging(refusePage3);

    const errnos = await Promise.all(pages(6).map((map) => vmm.map(map)));

    expect(errnos).toEqual([0, 0, 0, Errno.EACCES, 0, 0]);
    expect(held(server)).toEqual([0, 1, 2, 4, 5].map((page) => [page, 1]));
    expect([...proxy.mappings()]).toHaveLength(5);
    proxy.close();
  });

  test('and of which a part was unmapped meanwhile, likewise', async () => {
    const { vmm, proxy, server } = merging(refusePage3);

    const errnos = await Promise.all([...pages(6).map((map) => vmm.map(map)), vmm.unmap(1)]);

    expect(errnos.slice(2)).toEqual([0, Errno.EACCES, 0, 0, 0]);
    expect(server.mappings().map(({ iova }) => iova / PAGE)).toEqual([0n, 2n, 4n, 5n]);
    expect([...proxy.mappings()].map(({ iova }) => iova / PAGE)).toEqual([0n, 2n, 4n, 5n]);
    proxy.close();
  });

  test('is mapped in as many parts as there is room for', async () => {
    const { vmm, proxy, server } = merging({ ...refusePage3, maxDmaMaps: 3 });
    await vmm.version();

    const errnos = await Promise.all(pages(6).map((map) => vmm.map(map)));

    expect(errnos).toEqual([0, 0, 0, Errno.ENOSPC, Errno.ENOSPC, Errno.ENOSPC]);
    expect([server.most, server.refusals]).toEqual([3, []]);
    proxy.close();
  });
});

test('one descriptor a file is kept, and for no longer than its mappings are there', async () => {
  const { vmm, proxy } = merging();

  await Promise.all(Array.from({ length: 32 }, (_, i) => vmm.map({ iova: 2 * i, file: i % 2 })));
  expect(openFakeDescriptors()).toBe(2);

  await vmm.unmap(0, 64);
  expect(openFakeDescriptors()).toBe(0);
  proxy.close();
});

test('of very many files only some are merged, so that descriptors do not run out', async () => {
  const { vmm, proxy, server } = merging();

  const errnos = await Promise.all(
    Array.from({ length: 200 }, (_, i) => vmm.map({ iova: i, offset: i % 2, file: i >> 1 })),
  );

  expect(errnos.every((errno) => errno === 0)).toBe(true);
  expect([openFakeDescriptors(), server.table.size]).toEqual([64, 64 + 2 * 36]);
  proxy.close();
});
