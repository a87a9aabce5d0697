/** One line a decision. */
export type Log = (level: 'info' | 'warn' | 'error', message: string) => void;
