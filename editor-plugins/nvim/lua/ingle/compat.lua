--- What differs between the versions of Neovim, 0.7 to 0.12. Nothing else asks for a version.

local M = {}

local has_0_8 = vim.fn.has('nvim-0.8') == 1
local has_0_10 = vim.fn.has('nvim-0.10') == 1
local has_0_11 = vim.fn.has('nvim-0.11') == 1
local has_0_12 = vim.fn.has('nvim-0.12') == 1

--- Virtual text that moves the text after it.
M.has_inline_text = has_0_10

--- Neovim's own ghost text, or nil.
function M.builtin_inline_completion()
  return has_0_12 and vim.lsp.inline_completion or nil
end

--- Whether Neovim itself tells the user of a server that ended so. From 0.8 on it is kept from it:
--- its message is longer than a line, and stops all typing until ENTER is pressed.
---@param code integer
---@param signal integer
---@return boolean
function M.tells_of_exit(code, signal)
  return not has_0_8 and (code ~= 0 or (signal ~= 0 and signal ~= 15))
end

--- A server's command that Neovim takes for ended well, however it ends.
local function quiet(cmd, on_exit)
  return function(dispatchers)
    local ended = dispatchers.on_exit
    dispatchers.on_exit = function(code, signal)
      on_exit(code, signal)
      ended(0, 0)
    end
    if has_0_10 then
      return vim.lsp.rpc.start(cmd, dispatchers)
    end
    return vim.lsp.rpc.start(cmd[1], vim.list_slice(cmd, 2), dispatchers)
  end
end

--- Start a language server that is attached to nothing yet.
---@param config table
---@return integer|nil client_id
---@return string|nil problem
function M.start_client(config)
  local ok, id
  if has_0_8 then
    local on_exit = config.on_exit
    local code, signal
    config = vim.tbl_extend('force', config, {
      cmd = quiet(config.cmd, function(...)
        code, signal = ...
      end),
      on_exit = function(_, _, client_id)
        on_exit(code, signal, client_id)
      end,
    })
  end
  if has_0_11 then
    ok, id = pcall(vim.lsp.start, config, {
      attach = false,
      silent = true,
      reuse_client = function()
        return false
      end,
    })
  else
    ok, id = pcall(vim.lsp.start_client, config)
  end
  if ok and id then
    return id
  end
  return nil, ok and 'it could not be started' or tostring(id)
end

---@return boolean sent
---@return integer|nil request_id
function M.request(client, method, params, handler, buffer)
  if has_0_11 then
    return client:request(method, params, handler, buffer)
  end
  return client.request(method, params, handler, buffer)
end

function M.notify(client, method, params)
  if has_0_11 then
    return client:notify(method, params)
  end
  return client.notify(method, params)
end

function M.cancel(client, request_id)
  if has_0_11 then
    return client:cancel_request(request_id)
  end
  return client.cancel_request(request_id)
end

function M.stop(client, force)
  if has_0_11 then
    return client:stop(force)
  end
  return client.stop(force)
end

--- Bytes of a line → units of an encoding.
---@param line string
---@param bytes integer
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@return integer
function M.units(line, bytes, encoding)
  bytes = math.min(bytes, #line)
  if encoding == 'utf-8' then
    return bytes
  end
  if has_0_11 then
    return vim.str_utfindex(line, encoding, bytes, false)
  end
  local utf32, utf16 = vim.str_utfindex(line, bytes)
  return encoding == 'utf-32' and utf32 or utf16
end

--- Units of an encoding → bytes of a line; the end of the line if there are not so many.
---@param line string
---@param units integer
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@return integer
function M.bytes(line, units, encoding)
  if encoding == 'utf-8' then
    return math.min(units, #line)
  end
  if has_0_11 then
    return vim.str_byteindex(line, encoding, units, false)
  end
  local ok, bytes = pcall(vim.str_byteindex, line, units, encoding == 'utf-16')
  return ok and bytes or #line
end

--- The functions of `:checkhealth`, by their names since 0.10.
function M.health()
  local health = vim.health or require('health')
  return {
    start = health.start or health.report_start,
    ok = health.ok or health.report_ok,
    info = health.info or health.report_info,
    warn = health.warn or health.report_warn,
    error = health.error or health.report_error,
  }
end

--- The highlight group that ghost text is linked to: dim, and not mistaken for text.
function M.ghost_highlight()
  if has_0_12 then
    return 'ComplHint'
  end
  -- Before 0.10 NonText was bold and blue.
  return has_0_10 and 'NonText' or 'Comment'
end

return M
