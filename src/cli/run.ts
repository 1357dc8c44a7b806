/** The command `viommu` as a function: from arguments to an exit status. @module */
import { readFileSync } from 'node:fs';
import { debuglog } from 'node:util';
import { Command, CommanderError } from 'commander';
import { GuestFileError } from '../guests/index.ts';
import { ExitCode, UsageError } from './terminal/exit-codes.ts';
import { type CommandIo, OutputClosedError, OutputError } from './terminal/io.ts';
import { conformCommand } from './conform.ts';
import { mapsCommand } from './maps.ts';
import { proxyCommand } from './proxy.ts';
import { replayCommand, type ReplayJob } from './replay.ts';
import { serveCommand } from './serve.ts';
import { LiveError } from './serve/live-error.ts';
import type { LiveWorld } from './serve/live-world.ts';
import type { Session } from './terminal/session.ts';
import { printable } from './terminal/text.ts';
import { translateCommand } from './translate.ts';

const debug = debuglog('viommu');

/**
 * Runs one command line (without interpreter and script) to its end. Never throws, and never ends the process.
 *
 * @param job what `replay` runs; replaced in tests
 * @param world sockets, signals and time of the commands that talk to other processes; replaced in tests
 */
export async function run(
  argv: readonly string[],
  io: CommandIo,
  job?: ReplayJob,
  world?: LiveWorld,
): Promise<ExitCode> {
  const session: Session = { io, exitCode: ExitCode.Ok };
  try {
    await program(session, job, world).parseAsync(argv, { from: 'user' });
    return session.exitCode;
  } catch (error) {
    return failure(error, io);
  }
}

function program(session: Session, job: ReplayJob | undefined, world: LiveWorld | undefined): Command {
  const { io } = session;
  /** Commander writes without waiting; what it wrote is small. */
  const output = {
    writeOut: (text: string): void => void io.out(text).catch(() => {}),
    writeErr: (text: string): void => io.err(text),
    outputError: (text: string, write: (text: string) => void): void =>
      write(printableLines(text.replace(/^error: /, 'viommu: '))),
    getOutHelpWidth: (): number => io.columns ?? HELP_WIDTH,
    getErrHelpWidth: (): number => io.columns ?? HELP_WIDTH,
  };
  const commands = [
    replayCommand(session, job, world),
    mapsCommand(session),
    translateCommand(session),
    serveCommand(session, world),
    proxyCommand(session, world),
    conformCommand(session),
  ];
  const root = new Command('viommu')
    .description(
      "The IOMMU side of a virtual machine: look into a guest's IOMMU, and keep a host IOMMU equal to it.",
    )
    .version(version(), '-V, --version', 'print the version')
    .addHelpText('after', HELP);
  for (const command of commands) root.addCommand(command);
  for (const command of [root, ...commands]) {
    command.configureOutput(output).exitOverride().helpOption('-h, --help', 'explain this command');
    command.showHelpAfterError(`See: viommu ${command === root ? '' : `${command.name()} `}--help`);
  }
  return root;
}

const HELP_WIDTH = 100;

const HELP = `
Examples:
  $ viommu replay
      the whole story on real guests: plug a device, replay, follow, compare
  $ viommu maps captures/vtd-legacy-e1000
      what a captured guest's IOMMU maps, and for whom
  $ viommu translate captures/vtd-legacy-e1000 --requester 02:00.0 0xffe59123
      one address through every table
  $ viommu serve --socket /tmp/viommu.sock
      a vfio-user device for QEMU, which shows what is mapped for it
  $ viommu proxy --listen /tmp/vmm.sock --connect /tmp/device.sock
      between QEMU and a vfio-user server that takes exact unmaps only
  $ viommu conform --vmm /usr/bin/qemu-system-x86_64
      whether a QEMU tells devices what its guest's IOMMU maps, by the specifications

Exit status:
  0  done; equal, complete, translated, ended as told
  1  done, and there is something to look at: a difference, a listing that was cut, a fault
  2  not done: the command line is wrong, an input cannot be read, a socket cannot be made

Colours are for terminals only, and NO_COLOR turns them off.
`;

/** Arguments are echoed in errors of several lines. */
function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** What went wrong in words for people, and the status for it. */
function failure(error: unknown, io: CommandIo): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.Ok : ExitCode.Unusable;
  // Whoever closed the pipe has all that was wanted.
  if (error instanceof OutputClosedError) return ExitCode.Ok;
  if (
    error instanceof GuestFileError ||
    error instanceof UsageError ||
    error instanceof OutputError ||
    error instanceof LiveError
  ) {
    io.err(`viommu: ${printable(error.message)}\n`);
    return ExitCode.Unusable;
  }
  const message = error instanceof Error ? error.message : String(error);
  io.err(
    `viommu: internal error: ${printable(message)}; please report it with the command line and its input ` +
      '(NODE_DEBUG=viommu shows where it happened)\n',
  );
  debug('%o', error);
  return ExitCode.Unusable;
}

/** From src/cli and from dist/cli alike, package.json is two folders up. */
function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}
