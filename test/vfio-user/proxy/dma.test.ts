import { afterEach, describe, expect, test } from 'vitest';
import { Errno } from '../../../src/vfio-user/index.ts';
import type { ProxyDmaEvent } from '../../../src/vfio-user/proxy/index.ts';
import { openFakeDescriptors } from '../memory-channel.ts';
import { PAGE, rig, settle } from './rig.ts';

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

describe('maps', () => {
  test('a map reaches the server with its descriptor and is answered with the server', async () => {
    const { vmm, proxy, server } = rig();

    const errno = await vmm.map({ iova: 16, pages: 2, offset: 8, access: 1, file: 5 });

    expect(errno).toBe(0);
    expect(server.mappings()).toEqual([
      { iova: 16n * PAGE, size: 2n * PAGE, offset: 8n * PAGE, access: 1, file: 5 },
    ]);
    expect([...proxy.mappings()]).toEqual([
      { iova: 16n * PAGE, size: 2n * PAGE, offset: 8n * PAGE, access: 1, shared: true },
    ]);
    proxy.close();
  });

  test('a map waits for the answer of the server', async () => {
    const { vmm, proxy, server } = rig();
    server.hold();
    let isAnswered = false;

    const map = vmm.map({ iova: 1 }).then((errno) => {
      isAnswered = true;
      return errno;
    });
    await settle();

    expect([isAnswered, [...proxy.mappings()]]).toEqual([false, []]);
    server.release();
    expect(await map).toBe(0);
    expect([...proxy.mappings()]).toHaveLength(1);
    proxy.close();
  });

  test('what the server refuses is refused with its errno and not in the ledgers', async () => {
    const { vmm, proxy } = rig({ refuse: ({ iova }) => (iova === PAGE ? Errno.EACCES : undefined) });

    const errnos = await Promise.all([vmm.map({ iova: 0 }), vmm.map({ iova: 1 }), vmm.map({ iova: 2 })]);

    expect(errnos).toEqual([0, Errno.EACCES, 0]);
    expect([...proxy.mappings()].map(({ iova }) => iova)).toEqual([0n, 2n * PAGE]);
    expect([...proxy.serverMappings()].map(({ iova }) => iova)).toEqual([0n, 2n * PAGE]);
    proxy.close();
  });

  test('a map over another one is EEXIST, and the server does not hear of it', async () => {
    const { vmm, proxy, server } = rig();
    await vmm.map({ iova: 4, pages: 4, file: 1 });

    const errnos = await Promise.all([
      vmm.map({ iova: 3, pages: 2, file: 1 }),
      vmm.map({ iova: 7, file: 1 }),
      vmm.map({ iova: 4, pages: 4, file: 2 }),
      vmm.map({ iova: 4, pages: 4, offset: 1, file: 1 }),
      vmm.map({ iova: 4, pages: 4, access: 1, file: 1 }),
      vmm.map({ iova: 4, pages: 4 }),
    ]);

    expect(errnos).toEqual(Array.from({ length: 6 }, () => Errno.EEXIST));
    expect(server.commands).toHaveLength(1);
    proxy.close();
  });

  test.each([{ file: 1 }, { file: undefined }])(
    'the very same map again is accepted and not sent %j',
    async (given) => {
      const { vmm, proxy, server } = rig();
      await vmm.map({ iova: 4, ...given });

      expect(await vmm.map({ iova: 4, ...given })).toBe(0);

      expect(server.commands).toHaveLength(1);
      expect([...proxy.mappings()]).toHaveLength(1);
      proxy.close();
    },
  );

  test('the very same map behind one that is refused is refused likewise', async () => {
    const { vmm, proxy, server } = rig({ refuse: () => Errno.ENOMEM });

    const errnos = await Promise.all([vmm.map({ iova: 4 }), vmm.map({ iova: 4 })]);

    expect(errnos).toEqual([Errno.ENOMEM, Errno.ENOMEM]);
    expect(server.commands).toHaveLength(1);
    proxy.close();
  });

  test('without a way to recognise files, the same map with a descriptor is EEXIST', async () => {
    const { vmm, proxy } = rig({ proxy: { files: undefined } });
    await vmm.map({ iova: 4, file: 1 });

    expect(await vmm.map({ iova: 4, file: 1 })).toBe(Errno.EEXIST);
    proxy.close();
  });

  test.each([
    ['nothing allowed', { iova: 1, access: 0 }],
    ['beyond 2^64', { iova: 2 ** 52 - 1, pages: 2 }],
    ['no pages', { iova: 1, pages: 0 }],
  ])('%s is EINVAL', async (_, map) => {
    const { vmm, proxy, server } = rig();

    expect(await vmm.map(map)).toBe(Errno.EINVAL);

    expect(server.commands).toEqual([]);
    proxy.close();
  });

  test('the last page of 2^64 can be mapped and unmapped', async () => {
    const { vmm, proxy, server } = rig();

    const errnos = [await vmm.map({ iova: 2 ** 52 - 1 }), await vmm.unmapBytes(0xffff_ffff_ffff_f000n, PAGE)];

    expect(errnos).toEqual([0, 0]);
    expect(server.refusals).toEqual([]);
    proxy.close();
  });

  test('a full server is sent nothing: ENOSPC, until there is room again', async () => {
    const heard: string[] = [];
    const { vmm, proxy, server } = rig({
      maxDmaMaps: 2,
      proxy: { observer: { observe: ({ kind }) => heard.push(kind) } },
    });
    await vmm.version();

    const errnos = await Promise.all([
      ...[0, 1, 2, 3].map((iova) => vmm.map({ iova })),
      vmm.unmap(0),
      vmm.map({ iova: 2 }),
      vmm.map({ iova: 3 }),
    ]);

    expect(errnos).toEqual([0, 0, Errno.ENOSPC, Errno.ENOSPC, 0, 0, Errno.ENOSPC]);
    expect([server.most, server.refusals]).toEqual([2, []]);
    expect(heard).toEqual(['server-full', 'server-full']);
    proxy.close();
  });

  test('answers come in the order of the commands', async () => {
    const { vmm, proxy, server } = rig();
    await vmm.map({ iova: 9 });
    server.hold();
    const order: number[] = [];

    void vmm.map({ iova: 1 }).then(() => order.push(1));
    void vmm.map({ iova: 9, pages: 2 }).then(() => order.push(2));
    void vmm.unmap(100).then(() => order.push(3));
    await settle();
    expect(order).toEqual([]);
    server.release();
    await settle();

    expect(order).toEqual([1, 2, 3]);
    proxy.close();
  });
});

describe('unmaps', () => {
  test('one that covers many becomes exact ones, and is answered after the last', async () => {
    const { vmm, proxy, server } = rig();
    await Promise.all([1, 3, 7].map((iova) => vmm.map({ iova, file: 1 })));
    server.hold();
    let reply: Uint8Array | undefined;

    void vmm.unmapReply(0n, 8n * PAGE).then(({ payload }) => (reply = payload));
    await settle();

    expect(server.commands.slice(3)).toEqual(['unmap 1000 1000', 'unmap 3000 1000', 'unmap 7000 1000']);
    expect(reply).toBeUndefined();
    server.release();
    await settle();
    expect(reply).toHaveLength(24);
    expect(new DataView(reply!.buffer).getBigUint64(16, true)).toBe(8n * PAGE);
    expect([server.table.size, [...proxy.mappings()]]).toEqual([0, []]);
    proxy.close();
  });

  test('one that covers none is answered at once', async () => {
    const { vmm, proxy, server } = rig();

    expect(await vmm.unmapBytes(0xfef0_0000n, 0xffff_ffff_0110_0000n)).toBe(0);

    expect(server.commands).toEqual([]);
    proxy.close();
  });

  test('everything goes with the flag for it', async () => {
    const { vmm, proxy, server } = rig();
    await Promise.all([1, 2 ** 52 - 1].map((iova) => vmm.map({ iova })));

    const { errno } = await vmm.unmapReply(0n, 0n, { all: true });

    expect([errno, server.table.size, server.refusals]).toEqual([0, 0, []]);
    proxy.close();
  });

  test.each([
    ['its beginning', 4, 2],
    ['its end', 6, 8],
    ['its middle', 5, 1],
  ])('one that would cut a mapping at %s is EINVAL and changes nothing', async (_, iova, pages) => {
    const { vmm, proxy, server } = rig();
    await Promise.all([vmm.map({ iova: 4, pages: 4 }), vmm.map({ iova: 10 })]);

    expect(await vmm.unmap(iova, pages)).toBe(Errno.EINVAL);

    expect([server.commands.length, server.table.size, [...proxy.mappings()].length]).toEqual([2, 2, 2]);
    proxy.close();
  });

  test('a map behind an unmap is sent behind it and does not wait', async () => {
    const { vmm, proxy, server } = rig();
    await vmm.map({ iova: 1, file: 1 });
    server.hold();

    const both = Promise.all([vmm.unmap(0, 4), vmm.map({ iova: 1, pages: 2, file: 2 })]);
    await settle();

    expect(server.commands.slice(1)).toEqual(['unmap 1000 1000', 'map 1000 2000']);
    server.release();
    expect(await both).toEqual([0, 0]);
    proxy.close();
  });

  test('an unmap of what the server then refuses to map is no lie', async () => {
    const { vmm, proxy, server } = rig({ refuse: ({ file }) => (file === 1 ? Errno.EACCES : undefined) });

    const errnos = await Promise.all([
      vmm.map({ iova: 1, file: 1 }),
      vmm.unmap(0, 4),
      vmm.map({ iova: 1, file: 2 }),
    ]);

    expect(errnos).toEqual([Errno.EACCES, 0, 0]);
    expect(server.mappings().map(({ file }) => file)).toEqual([2]);
    expect([...proxy.mappings()]).toHaveLength(1);
    proxy.close();
  });

  test('a refused exact unmap ends the link, and says why', async () => {
    const { vmm, proxy } = rig({ refuseUnmap: () => Errno.ENOENT });
    await vmm.map({ iova: 1 });

    void vmm.unmap(1).catch(() => {});
    const end = await proxy.closed;

    expect([end.side, end.reason.kind]).toEqual(['server', 'protocol-error']);
    expect(end.message).toBe(
      'the server cannot be relied on: it refused (ENOENT) to unmap 0x1000-0x1fff, which it had mapped: what it still reaches is not known: the connection to the VMM was ended',
    );
  });

  test('a dirty bitmap is had of one mapping, and of several not', async () => {
    const { vmm, proxy, server } = rig();
    await Promise.all([vmm.map({ iova: 1 }), vmm.map({ iova: 2 })]);

    const several = await vmm.unmapReply(PAGE, 2n * PAGE, { dirtyBitmap: true });
    const one = await vmm.unmapReply(PAGE, PAGE, { dirtyBitmap: true });

    expect([several.errno, one.errno]).toEqual([Errno.EOPNOTSUPP, 0]);
    expect(new DataView(one.payload.buffer, one.payload.byteOffset).getUint32(4, true)).toBe(1);
    expect(server.mappings()).toHaveLength(1);
    proxy.close();
  });

  test('a server that has no bitmaps keeps the mapping, and so does the VMM', async () => {
    const { vmm, proxy, server } = rig({
      refuseUnmap: (_, dirtyBitmap) => (dirtyBitmap ? Errno.EOPNOTSUPP : undefined),
    });
    await vmm.map({ iova: 1, file: 1 });

    const { errno } = await vmm.unmapReply(PAGE, PAGE, { dirtyBitmap: true });

    expect(errno).toBe(Errno.EOPNOTSUPP);
    expect([[...proxy.mappings()].length, [...proxy.serverMappings()].length]).toEqual([1, 1]);
    expect([await vmm.unmap(1), server.table.size]).toEqual([0, 0]);
    proxy.close();
  });

  test('a bitmap of what the server then refuses to map takes no place in the server', async () => {
    const { vmm, proxy, server } = rig({
      maxDmaMaps: 1,
      refuse: ({ file }) => (file === 1 ? Errno.EACCES : undefined),
    });
    await vmm.version();

    const [map, unmap] = await Promise.all([
      vmm.map({ iova: 1, file: 1 }),
      vmm.unmapReply(PAGE, PAGE, { dirtyBitmap: true }),
    ]);

    expect([map, unmap.errno, await vmm.map({ iova: 1 })]).toEqual([Errno.EACCES, Errno.ENOENT, 0]);
    expect(server.mappings()).toHaveLength(1);
    proxy.close();
  });

  test('a mapping that the server keeps for want of a bitmap, and the VMM mapped anew, ends the link', async () => {
    const { vmm, proxy } = rig({ refuseUnmap: () => Errno.EOPNOTSUPP });
    await vmm.map({ iova: 1, pages: 2 });

    void vmm.unmapReply(PAGE, 2n * PAGE, { dirtyBitmap: true }).catch(() => {});
    void vmm.map({ iova: 2, file: 1 }).catch(() => {});

    expect((await proxy.closed).message).toContain('it kept 0x1000-0x2fff');
  });

  test('many more mappings than requests may be on their way all go', async () => {
    const { vmm, proxy, server } = rig({ proxy: { limits: { maxDmaMaps: 65_535 } } });
    await Promise.all(Array.from({ length: 10_000 }, (_, i) => vmm.map({ iova: 2 * i })));

    const errnos = await Promise.all([vmm.unmap(0, 20_000), vmm.map({ iova: 5 })]);

    expect(errnos).toEqual([0, 0]);
    expect([server.table.size, server.refusals]).toEqual([1, []]);
    proxy.close();
  });
});

/** A range in naturally aligned powers of two. */
function pieces(start: bigint, end: bigint): [address: bigint, size: bigint][] {
  const found: [bigint, bigint][] = [];
  for (let at = start; at < end; ) {
    let size = at === 0n ? 1n << 47n : at & -at;
    while (at + size > end) size >>= 1n;
    found.push([at, size]);
    at += size;
  }
  return found;
}

/** What QEMU 11.1.3 unmaps when a guest turns VT-d translation off: naturally aligned pieces, then both halves at once. */
function translationOff(): [address: bigint, size: bigint][] {
  return [
    ...pieces(0xfef0_0000n, 1n << 48n),
    ...pieces(0n, 0xfee0_0000n),
    [0n, 0xfee0_0000n],
    [0xfef0_0000n, 0xffff_ffff_0110_0000n],
  ];
}

test('QEMU turns VT-d translation off: its 30 unmaps leave nothing, and guest RAM can be mapped', async () => {
  const { vmm, proxy, server } = rig();
  await vmm.version();
  await vmm.map({ iova: 0x200, pages: 512, offset: 0x400, file: 1 });
  await vmm.map({ iova: 0x10_0000, pages: 512, offset: 0x600, file: 1 });

  const unmaps = translationOff();
  const errnos = await Promise.all([
    ...unmaps.map(([address, size]) => vmm.unmapBytes(address, size)),
    vmm.map({ iova: 0, pages: 0xa0, file: 1 }),
    vmm.map({ iova: 0x100, pages: 0x7ff00, offset: 0x100, file: 1 }),
  ]);

  expect(unmaps).toHaveLength(30);
  expect(errnos).toEqual(Array.from({ length: 32 }, () => 0));
  expect(server.refusals).toEqual([]);
  expect(server.mappings().map(({ iova, size }) => [iova, size])).toEqual([
    [0n, 0xa_0000n],
    [0x10_0000n, 0x7ff0_0000n],
  ]);
  proxy.close();
});

test('what the VMM asked for and what the server was told can be watched', async () => {
  const heard: string[] = [];
  const line = (who: string, { op, iova, size, count, result }: ProxyDmaEvent): void => {
    heard.push(`${who} ${op} ${iova / PAGE}+${size / PAGE} ${count} ${result}`);
  };
  const { vmm, proxy } = rig({
    proxy: { events: { asked: (event) => line('asked', event), told: (event) => line('told', event) } },
  });

  await vmm.map({ iova: 1 });
  await vmm.map({ iova: 3 });
  await vmm.map({ iova: 3, pages: 2 });
  await vmm.unmap(0, 8);
  await vmm.unmap(0, 8);

  expect(heard).toEqual([
    'told map 1+1 1 ok',
    'asked map 1+1 1 ok',
    'told map 3+1 1 ok',
    'asked map 3+1 1 ok',
    'asked map 3+2 0 EEXIST',
    'told unmap 1+1 1 ok',
    'told unmap 3+1 1 ok',
    'asked unmap 0+8 2 ok',
    'asked unmap 0+8 0 ok',
  ]);
  proxy.close();
});

test('an unmap of what the server refused to map is not told as one of a mapping', async () => {
  const heard: string[] = [];
  const { vmm, proxy } = rig({
    refuse: ({ iova }) => (iova === PAGE ? Errno.ENOMEM : undefined),
    proxy: { events: { asked: ({ op, count, result }) => heard.push(`${op} ${count} ${result}`) } },
  });

  await Promise.all([vmm.map({ iova: 1 }), vmm.map({ iova: 2 }), vmm.unmap(0, 8)]);

  expect(heard).toEqual(['map 0 ENOMEM', 'map 1 ok', 'unmap 1 ok']);
  proxy.close();
});
