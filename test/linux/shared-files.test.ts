import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { EventFd, linuxPlatform, MemfdRamBlock, mapFile, openDescriptors } from '../../src/linux/index.ts';
import { F_SETFL, needLibc, O_APPEND } from '../../src/linux/libc.ts';
import { DeviceRegion, PageCursor, RamRegion } from '../../src/memory/index.ts';
import {
  Descriptor,
  type SharedFile,
  type SharedFiles,
  type SystemRefusal,
} from '../../src/vfio-user/index.ts';
import { noKoffi, pattern, scratchPath, warmUp } from './sockets.ts';

const PAGE = 4096;

/** A descriptor of the test's own, closed by `release`. */
function owned(path: string, flags: string | number): Descriptor {
  return new Descriptor(openSync(path, flags), closeSync);
}

/** A file of `bytes` bytes. */
function fileOf(bytes: Uint8Array, flags: string | number = 'r+'): Descriptor {
  const path = scratchPath('ram');
  writeFileSync(path, bytes);
  return owned(path, flags);
}

function opened(file: SharedFile | SystemRefusal): SharedFile {
  expect(file).not.toHaveProperty('reason');
  return file as SharedFile;
}

function ramOf(file: SharedFile): RamRegion {
  expect(file.region).toBeInstanceOf(RamRegion);
  return file.region as RamRegion;
}

function deviceOf(file: SharedFile): DeviceRegion {
  expect(file.region).toBeInstanceOf(DeviceRegion);
  return file.region as DeviceRegion;
}

function bytesOfPage(
  block: { locate(page: number, cursor: PageCursor, forWrite: boolean): void },
  page: number,
): Uint8Array {
  const cursor = new PageCursor();
  block.locate(page, cursor, true);
  return cursor.bytes();
}

describe.skipIf(noKoffi)('shared files', () => {
  let files: SharedFiles;

  beforeAll(async () => {
    files = linuxPlatform().files as SharedFiles;
    await warmUp();
  });

  const refusal = (descriptor: Descriptor): SystemRefusal => {
    const answer = files.open(descriptor);
    descriptor.release();
    expect(answer).toHaveProperty('reason');
    return answer as SystemRefusal;
  };

  test('a sealed memfd is mapped: both sides see what the other writes', () => {
    const ram = MemfdRamBlock.create('guest', 3);
    const file = opened(files.open(ram.share.descriptor));

    bytesOfPage(ram, 1).set(pattern(PAGE));
    bytesOfPage(ramOf(file).block, 2).set(pattern(PAGE, 5));

    expect(Buffer.compare(bytesOfPage(ramOf(file).block, 1), pattern(PAGE))).toBe(0);
    expect(Buffer.compare(bytesOfPage(ram, 2), pattern(PAGE, 5))).toBe(0);
    expect([file.region.pages, file.writable, ramOf(file).readonly]).toEqual([3, true, false]);
    expect([file.contains(3), file.contains(4)]).toEqual([true, false]);
    file.release();
    ram.close();
  });

  test('a mapping outlives the descriptor and takes none of its own', () => {
    const before = openDescriptors();
    const ram = MemfdRamBlock.create('guest', 1);
    bytesOfPage(ram, 0)[7] = 9;
    const file = opened(files.open(ram.share.descriptor));
    ram.close();

    const during = openDescriptors();
    const byte = bytesOfPage(ramOf(file).block, 0)[7];
    file.release();

    expect([during, byte]).toEqual([before, 9]);
  });

  test('a sealed memfd cannot be truncated by a peer', () => {
    const ram = MemfdRamBlock.create('guest', 2);

    expect(() => ftruncateSync(ram.share.descriptor.number, 0)).toThrow('EPERM');

    ram.close();
  });

  test('what was handed out of a mapping reads as zeros after its release, and no longer reaches the file', () => {
    const ram = MemfdRamBlock.create('guest', 1);
    const file = opened(files.open(ram.share.descriptor));
    const late = bytesOfPage(ramOf(file).block, 0);
    late.fill(1);

    file.release();
    const after = late[0];
    late.fill(2);

    expect([after, bytesOfPage(ram, 0)[0]]).toEqual([0, 1]);
    ram.close();
  });

  test('memory larger than a window is one file', () => {
    const gib = 2 ** 18;
    const ram = MemfdRamBlock.create('guest', 5 * gib + 3);
    const file = opened(files.open(ram.share.descriptor));

    for (const page of [0, gib - 1, gib, 4 * gib + 1, 5 * gib + 2])
      bytesOfPage(ram, page)[0] = 1 + (page % 251);

    const seen = [0, gib - 1, gib, 4 * gib + 1, 5 * gib + 2].map(
      (page) => bytesOfPage(ramOf(file).block, page)[0],
    );
    expect(seen).toEqual([0, gib - 1, gib, 4 * gib + 1, 5 * gib + 2].map((page) => 1 + (page % 251)));
    file.release();
    ram.close();
  });

  test('a file that may shrink is read and written by calls', () => {
    const descriptor = fileOf(pattern(2 * PAGE));
    const file = opened(files.open(descriptor));
    const data = new Uint8Array(100);

    const read = deviceOf(file).handler.read(PAGE + 5, data);
    const written = deviceOf(file).handler.write(10, new Uint8Array([1, 2, 3]));

    expect([read, written]).toEqual([true, true]);
    expect(Buffer.compare(data, pattern(100, PAGE + 5))).toBe(0);
    expect([...readFileSync(scratchPath('ram')).subarray(10, 13)]).toEqual([1, 2, 3]);
    expect([file.region.pages, file.writable]).toEqual([2, true]);
    file.release();
    descriptor.release();
  });

  test('a truncated file refuses accesses past its end, and the process lives', () => {
    const descriptor = fileOf(pattern(4 * PAGE));
    const file = opened(files.open(descriptor));
    const { handler } = deviceOf(file);
    const data = new Uint8Array(16);

    truncateSync(scratchPath('ram'), PAGE + 8);

    expect(handler.read(0, data)).toBe(true);
    expect(handler.read(PAGE, data)).toBe(false);
    expect(handler.write(PAGE, data)).toBe(false);
    expect(handler.read(3 * PAGE, data)).toBe(false);
    expect(handler.write(3 * PAGE, data)).toBe(false);
    expect([file.contains(1), file.contains(2), file.contains(4)]).toEqual([true, false, false]);
    expect(readFileSync(scratchPath('ram')).length).toBe(PAGE + 8);
    file.release();
    descriptor.release();
  });

  test('a file that its peer makes appending is not written any more, and so does not grow', () => {
    const descriptor = fileOf(pattern(2 * PAGE));
    const file = opened(files.open(descriptor));
    const { handler } = deviceOf(file);

    needLibc('a test').fcntl(descriptor.number, F_SETFL, O_APPEND);

    expect(handler.write(0, new Uint8Array(16))).toBe(false);
    expect(handler.read(0, new Uint8Array(16))).toBe(true);
    expect(Buffer.compare(readFileSync(scratchPath('ram')), pattern(2 * PAGE))).toBe(0);
    file.release();
    descriptor.release();
  });

  test('a memfd that is not sealed may shrink too', () => {
    const libc = needLibc('a test');
    const fd = libc.memfd_create('unsealed', 2);
    ftruncateSync(fd, PAGE);
    const descriptor = new Descriptor(fd, closeSync);

    const file = opened(files.open(descriptor));

    expect(file.region).toBeInstanceOf(DeviceRegion);
    file.release();
    descriptor.release();
  });

  test('a file that may shrink is mapped for those who trust their peer', () => {
    const descriptor = fileOf(pattern(2 * PAGE));
    const file = opened((linuxPlatform({ mapUnsealed: true }).files as SharedFiles).open(descriptor));

    bytesOfPage(ramOf(file).block, 1)[0] = 77;

    expect(readFileSync(scratchPath('ram'))[PAGE]).toBe(77);
    file.release();
    descriptor.release();
  });

  test('a descriptor open for reading gives read-only memory', () => {
    const ram = MemfdRamBlock.create('guest', 1);
    const reader = owned(`/proc/self/fd/${ram.share.descriptor.number}`, 'r');
    const plain = fileOf(pattern(PAGE), 'r');

    const mapped = opened(files.open(reader));
    const called = opened(files.open(plain));

    expect([mapped.writable, ramOf(mapped).readonly]).toEqual([false, true]);
    expect([called.writable, deviceOf(called).handler.write(0, new Uint8Array(1))]).toEqual([false, false]);
    for (const one of [mapped, called]) one.release();
    for (const one of [reader, plain]) one.release();
    ram.close();
  });

  test('a memfd sealed against writing gives read-only memory though it is open for writing', () => {
    const libc = needLibc('a test');
    const fd = libc.memfd_create('sealed', 2);
    ftruncateSync(fd, PAGE);
    libc.fcntl(fd, 1033, 2 | 8);
    const descriptor = new Descriptor(fd, closeSync);

    const file = opened(files.open(descriptor));

    expect([file.writable, ramOf(file).readonly]).toEqual([false, true]);
    file.release();
    descriptor.release();
  });

  test('part of a page at the end of a file is left out', () => {
    const descriptor = fileOf(pattern(2 * PAGE + 4095));

    const file = opened(files.open(descriptor));

    expect([file.region.pages, file.contains(2), file.contains(3)]).toEqual([2, true, false]);
    file.release();
    descriptor.release();
  });

  test('descriptors of one file are known as one, however they came about', () => {
    const ram = MemfdRamBlock.create('guest', 1);
    const again = owned(`/proc/self/fd/${ram.share.descriptor.number}`, 'r');
    const other = MemfdRamBlock.create('guest', 1);
    const file = opened(files.open(ram.share.descriptor));

    const keys = [ram.share.descriptor, again, other.share.descriptor].map((one) => files.identify(one));

    expect(keys[0]).toMatch(/^\d+:\d+$/);
    expect([keys[1], file.key]).toEqual([keys[0], keys[0]]);
    expect(keys[2]).not.toBe(keys[0]);
    file.release();
    again.release();
    ram.close();
    other.close();
  });

  test.each([
    ['memory', (): Descriptor => MemfdRamBlock.create('guest', 1).share.descriptor],
    ['a file', (): Descriptor => fileOf(new Uint8Array(PAGE))],
  ])('%s whose number is used again is not taken for what had it before', (_name, make) => {
    const first = make();
    const { number } = first;
    const firstKey = files.identify(first);
    first.release();
    const ram = MemfdRamBlock.create('guest', 1);

    const key = files.identify(ram.share.descriptor);

    expect(ram.share.descriptor.number).toBe(number);
    expect(key).not.toBe(firstKey);
    expect(key).toBe(files.identify(ram.share.descriptor));
    ram.close();
  });

  test('an eventfd whose number was a file has no identity', () => {
    const file = fileOf(new Uint8Array(PAGE));
    const { number } = file;
    const key = files.identify(file);
    file.release();
    const bell = EventFd.create();

    expect(key).toMatch(/^\d+:\d+$/);
    expect(bell.descriptor.number).toBe(number);
    expect(files.identify(bell.descriptor)).toBeUndefined();
    bell.close();
  });

  test('descriptors of two files that come by turns are told apart', () => {
    const [one, two] = [MemfdRamBlock.create('a', 1), fileOf(new Uint8Array(PAGE))];
    const turns = [one.share.descriptor, two, two, one.share.descriptor, one.share.descriptor, two];

    const keys = turns.map((descriptor) => files.identify(descriptor));

    const [a, b] = keys;
    expect(a).not.toBe(b);
    expect(keys).toEqual([a, b, b, a, a, b]);
    one.close();
    two.release();
  });

  test('a file that grows contains its new pages only as far as it was opened', () => {
    const descriptor = fileOf(pattern(2 * PAGE));
    const file = opened(files.open(descriptor));

    truncateSync(scratchPath('ram'), 4 * PAGE);

    expect([file.contains(2), file.contains(3)]).toEqual([true, false]);
    file.release();
    descriptor.release();
  });

  test.each([
    ['an eventfd', () => EventFd.create().descriptor],
    ['a folder', () => (mkdirSync(scratchPath('folder')), owned(scratchPath('folder'), 'r'))],
    ['a device', () => owned('/dev/zero', 'r+')],
    ['an empty file', () => fileOf(new Uint8Array(0))],
    ['less than a page', () => fileOf(new Uint8Array(PAGE - 1))],
    ['a file open for appending', () => fileOf(new Uint8Array(PAGE), 'a+')],
    ['a file of /proc', () => owned('/proc/self/status', 'r')],
  ])('%s is refused as invalid', (_name, make) => {
    const { errno, reason } = refusal(make());

    expect(errno).toBe('EINVAL');
    expect(reason).toMatch(
      /^the (descriptor is no regular file|file has \d+ bytes|file is open for appending)/,
    );
  });

  test.each([
    ['for writing only', constants.O_WRONLY],
    ['as a path', 0o10000000],
  ])('a file that is open %s is refused', (_name, flags) => {
    const { errno, reason } = refusal(fileOf(new Uint8Array(PAGE), flags));

    expect([errno, reason]).toEqual([
      'EACCES',
      'the file is not open for reading: send a descriptor that is',
    ]);
  });

  test('what is no file has no identity', () => {
    const bell = EventFd.create();

    expect(files.identify(bell.descriptor)).toBeUndefined();

    bell.close();
  });

  test('mapped bytes are limited, and are free again after a release', () => {
    const small = linuxPlatform({ maxMappedBytes: 3 * PAGE }).files as SharedFiles;
    const [one, two] = [MemfdRamBlock.create('a', 2), MemfdRamBlock.create('b', 2)];

    const first = opened(small.open(one.share.descriptor));
    const refused = small.open(two.share.descriptor);
    first.release();
    const second = opened(small.open(two.share.descriptor));

    expect(refused).toEqual({
      errno: 'ENOMEM',
      reason: 'mapping 8192 bytes more would exceed the limit of 12288: raise maxMappedBytes',
    });
    second.release();
    one.close();
    two.close();
  });

  test('a memfd of 8 EiB, sealed, is refused and not mapped', () => {
    const libc = needLibc('a test');
    const fd = libc.memfd_create('huge', 2);
    libc.ftruncate(fd, 2n ** 63n - 4096n);
    libc.fcntl(fd, 1033, 2);

    expect(refusal(new Descriptor(fd, closeSync)).errno).toBe('EINVAL');
  });

  test('opening and releasing many files leaves no descriptor open', () => {
    const before = openDescriptors();

    for (let i = 0; i < 300; i++) {
      const ram = MemfdRamBlock.create('guest', 16);
      const plain = fileOf(new Uint8Array(PAGE));
      for (const descriptor of [ram.share.descriptor, plain]) {
        const file = opened(files.open(descriptor));
        file.release();
        file.release();
      }
      plain.release();
      ram.close();
      ram.close();
    }

    expect(openDescriptors()).toBe(before);
  });
});

describe.skipIf(noKoffi)('RAM in a file', () => {
  test('is what another process sees at the same descriptor', async () => {
    const ram = MemfdRamBlock.create('guest', 2);
    bytesOfPage(ram, 1).set([1, 2, 3]);

    // The descriptor becomes number 3 of the child, which turns the bytes around and adds its own.
    const script = `
      const fs = require('node:fs');
      const bytes = Buffer.alloc(3);
      fs.readSync(3, bytes, 0, 3, 4096);
      fs.writeSync(3, Buffer.from([...bytes].reverse().concat(99)), 0, 4, 8000);
    `;
    const child = spawn(process.execPath, ['-e', script], {
      stdio: ['ignore', 'inherit', 'inherit', ram.share.descriptor.number],
    });
    await once(child, 'exit');

    expect([...bytesOfPage(ram, 1).subarray(8000 - 4096, 8004 - 4096)]).toEqual([3, 2, 1, 99]);
    ram.close();
  });

  test('that exists is mapped by its path', () => {
    const path = scratchPath('backend');
    writeFileSync(path, pattern(3 * PAGE + 1));

    const ram = mapFile(path);
    bytesOfPage(ram, 2)[0] = 200;
    const first = Buffer.compare(bytesOfPage(ram, 0), pattern(PAGE));
    ram.close();

    expect([ram.pages, first, readFileSync(path)[2 * PAGE]]).toEqual([3, 0, 200]);
    expect(ram.share.descriptor.closed).toBe(true);
  });

  test('that has no page is refused, and not kept open', () => {
    const path = scratchPath('backend');
    writeFileSync(path, 'x');
    const before = openDescriptors();

    expect(() => mapFile(path)).toThrow(/it has 1 bytes, but RAM is at least a page of 4 KiB/);

    expect(openDescriptors()).toBe(before);
  });

  test('cannot be had where there is no koffi', () => {
    const room = new URL('../../src/linux/index.ts', import.meta.url).href;
    const script = `import(${JSON.stringify(room)}).then((m) => m.MemfdRamBlock.create('x', 1)).catch((e) => console.log(e.code, e.message))`;

    const { stdout } = spawnSync(process.execPath, ['--import', 'tsx', '-e', script], {
      encoding: 'utf8',
      env: { ...process.env, VIOMMU_NO_KOFFI: '1' },
    });

    expect(stdout).toBe(
      'VIOMMU_NO_KOFFI shared RAM needs Linux and the package koffi: VIOMMU_NO_KOFFI=1 is set in the environment\n',
    );
  });
});
