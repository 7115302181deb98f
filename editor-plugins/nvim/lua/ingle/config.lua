--- Options: their defaults, and what is wrong with what a user gave.
---
--- Owns the plugin's own options. `settings` go to the language server as they are, which checks
--- them itself (the table is in lsp/README.md).

local notify = require('ingle.notify')

local M = {}

M.defaults = {
  -- How the language server is started.
  cmd = { 'ingle-lsp' },
  -- Whether suggestions come while typing; `keys.suggest` asks for them in any case.
  automatic = true,
  -- Who draws them: 'own', or 'builtin' for that of Neovim 0.12.
  ghost_text = 'own',
  -- In insert mode; all but `suggest` are mapped only while ghost text is shown. False: no key.
  keys = {
    accept = '<Tab>',
    accept_word = '<M-w>',
    accept_line = '<M-l>',
    next = '<M-n>',
    previous = '<M-p>',
    dismiss = '<C-]>',
    suggest = '<M-i>',
  },
  -- What makes the chat's window.
  chat_window = 'botright vertical split',
  -- Whether the chat shows what the model thinks before it answers.
  show_analysis = false,
  -- The language server's settings.
  settings = {},
}

M.options = vim.deepcopy(M.defaults)

--- Keys that the user chose, by name; the defaults give way to mappings that are there already.
M.chosen_keys = {}

local function is_text_list(value)
  if type(value) ~= 'table' or #value == 0 then
    return false
  end
  for _, item in ipairs(value) do
    if type(item) ~= 'string' then
      return false
    end
  end
  return true
end

local function is_switch(value)
  return type(value) == 'boolean'
end

local checks = {
  cmd = { 'a list of words', is_text_list },
  automatic = { 'true or false', is_switch },
  ghost_text = {
    "'own' or 'builtin'",
    function(value)
      return value == 'own' or value == 'builtin'
    end,
  },
  keys = {
    'a table',
    function(value)
      return type(value) == 'table'
    end,
  },
  chat_window = {
    'a command',
    function(value)
      return type(value) == 'string'
    end,
  },
  show_analysis = { 'true or false', is_switch },
  settings = {
    'a table',
    function(value)
      return type(value) == 'table'
    end,
  },
}

local function problem_of_key(name, key)
  if M.defaults.keys[name] == nil then
    return ('there is no key %s: see :help ingle-keys'):format(name)
  end
  if key ~= false and (type(key) ~= 'string' or key == '') then
    return ('keys.%s must be a key or false'):format(name)
  end
end

--- Take a user's options. What is wrong is told, and its default stays.
---@param given table
function M.set(given)
  local problems = {}
  local options = vim.deepcopy(M.defaults)
  M.chosen_keys = {}
  for name, value in pairs(given) do
    local check = checks[name]
    if not check then
      table.insert(problems, ('there is no option %s: see :help ingle-options'):format(name))
    elseif not check[2](value) then
      table.insert(problems, ('%s must be %s'):format(name, check[1]))
    elseif name == 'keys' then
      for key_name, key in pairs(value) do
        local problem = problem_of_key(key_name, key)
        if problem then
          table.insert(problems, problem)
        else
          options.keys[key_name] = key
          M.chosen_keys[key_name] = true
        end
      end
    else
      options[name] = vim.deepcopy(value)
    end
  end
  M.options = options
  if #problems > 0 then
    table.sort(problems)
    notify.warn(table.concat(problems, '; '))
  end
end

--- The language server's settings, as an object even if it is empty.
---@return table
function M.server_settings()
  local settings = M.options.settings
  return vim.tbl_isempty(settings) and vim.empty_dict() or settings
end

return M
