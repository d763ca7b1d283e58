import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket; // Node has it by itself from 22 on, browsers always
