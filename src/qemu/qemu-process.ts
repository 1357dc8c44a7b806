/** One QEMU process, spoken to by qtest and QMP over pipes of its own, and never left behind. @module */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { QmpClient } from './qmp-client.ts';
import { QtestClient } from './qtest-client.ts';

/** What a machine is started with. */
export interface QemuOptions {
  /** Path of the executable, of release 11 or later. */
  readonly executable: string;
  /** Guest RAM in bytes. It is a memory file that others can map: see {@link QemuProcess.ramFile}. */
  readonly ramBytes: number;
  /** `-device`, `-netdev` and so on, after the machine. */
  readonly args: readonly string[];
  /** Whether this release ends by itself when this process does; it does when left out. */
  readonly exitsWithParent?: boolean;
  /** Runs the guest's processors in software; without it they never run and qtest takes their place. */
  readonly processors?: boolean;
}

/** The last lines of the standard error output are kept for messages. */
const KEPT_STDERR = 4096;

/** The machine is a q35 whose interrupt controller allows a VT-d unit with interrupt remapping. */
export class QemuProcess {
  readonly qmp: QmpClient;
  /** Answers only in a machine without processors. */
  readonly qtest: QtestClient;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #stderr = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_STDERR);
    });
    this.#exited = new Promise((resolve) => child.once('close', () => resolve()));
    const obituary = (): string => this.#obituary();
    this.qtest = new QtestClient(child.stdio[3] as Duplex, obituary);
    this.qmp = new QmpClient(child.stdio[4] as Duplex, obituary);
  }

  /** Starts QEMU; rejects with what it printed when it refuses. */
  static async start(options: QemuOptions): Promise<QemuProcess> {
    const { executable, ramBytes, args, exitsWithParent = true, processors = false } = options;
    const machine = [
      ['-nodefaults', '-no-user-config', '-display', 'none'],
      // The kernel kills QEMU when the test process dies, however that comes about.
      exitsWithParent ? ['-run-with', 'exit-with-parent=on'] : [],
      ['-accel', processors ? 'tcg' : 'qtest'],
      // Pipes made for the child leave no socket file behind.
      ['-chardev', 'socket,id=qtest,fd=3', '-object', 'qtest,id=port,chardev=qtest,log=/dev/null'],
      ['-chardev', 'socket,id=qmp,fd=4', '-qmp', 'chardev:qmp'],
      ['-object', `memory-backend-memfd,id=ram,size=${ramBytes},share=on`, '-m', `${ramBytes / 2 ** 20}M`],
      ['-machine', 'q35,memory-backend=ram,kernel-irqchip=split'],
    ].flat();
    const child = spawn(executable, [...machine, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    });
    await once(child, 'spawn');
    const process = new QemuProcess(child);
    try {
      await process.qmp.execute('qmp_capabilities');
    } catch (error) {
      await process.kill();
      // What it printed is known in full only now.
      throw process.stderr === '' ? error : new Error(process.stderr.trim(), { cause: error });
    }
    return process;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Standard output: a guest's serial console, when the arguments put it there. */
  get stdout(): NodeJS.ReadableStream {
    return this.#child.stdout as NodeJS.ReadableStream;
  }

  /** The end of what QEMU printed on its standard error output. */
  get stderr(): string {
    return this.#stderr;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when the process is gone and its pipes are read. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  /** A path by which this process can map the guest's RAM while QEMU runs: the low part first, what lies above 4 GiB after it. */
  get ramFile(): string {
    const folder = `/proc/${this.pid}/fd`;
    const isRam = (name: string): boolean => {
      try {
        return readlinkSync(`${folder}/${name}`).startsWith('/memfd:memory-backend-memfd');
      } catch {
        return false;
      }
    };
    const name = readdirSync(folder).find(isRam);
    if (name === undefined) throw new Error(`QEMU ${this.pid} has no memory file open`);
    return `${folder}/${name}`;
  }

  /** Ends QEMU at once and waits until it is gone. Does nothing when it is. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
    this.qtest.destroy();
    this.qmp.destroy();
  }

  #obituary(): string {
    const { exitCode, signalCode } = this.#child;
    const how = signalCode ?? (exitCode === null ? 'closed its pipe' : `status ${exitCode}`);
    return `QEMU is gone (${how}). ${this.#stderr.trim()}`;
  }
}
